/** The engine that ships, on the machine: every port has its part of the model behind it. */

import type { Host, StartedScheme, WaitHistogram } from "../core/host.js";
import { claim, forEachDue, HEARTBEAT_MS, HELD_SLOTS, IDLE_MS, MAX_MS, returned } from "../core/lease-table.js";
import { type EngineOptions, type EngineSettings, settingsOf } from "../core/options.js";
import type { Loop, SchemeName, Watchdog } from "../core/ports.js";
import { PortableEngine, startFirst } from "../engine.js";
import { PAGE_BYTES } from "../model/contents.js";
import { ModelFiles } from "../model/files.js";
import { Flusher } from "../model/flusher.js";
import { Machine } from "../model/machine.js";
import { lock, ROOT, ringPages, unlock } from "../model/memlock.js";
import { ModelMemory } from "../model/memory-thread.js";
import { type ModelFaults, ModelScheme, type ModelTiming, NO_FAULTS } from "../model/scheme.js";
import type { Design, MachineSize } from "../model/tables.js";
import { describe, OpenFiles } from "./open-files.js";

/** What the real start-up test of leases has locked: its ring, and two registrations of 64 KiB. */
const LEASE_TEST_PAGES = 2 + 2 * 16;

export interface WorldOptions {
  readonly seed: number;
  readonly design: Design;
  readonly size: MachineSize;
  readonly timing: ModelTiming;
  readonly faults?: ModelFaults;
  /** Whether programs see bytes in their memory. Without, contents are tags only, which is a lot faster. Default true. */
  readonly bytes?: boolean;
  /** Runs a step of the machine after all that the program has to do now: setImmediate, or what there is like it. */
  readonly later: (step: () => void) => void;
  /** Where errors go that nobody catches. */
  readonly uncaught: (error: unknown) => void;
}

/** One machine with its files, and engines on it. Time goes on for as long as there is something to come. */
export class World {
  readonly machine: Machine;
  readonly files: ModelFiles;
  readonly #options: WorldOptions;
  readonly #memory: ModelMemory;
  readonly #flusher: Flusher;
  readonly #opened: OpenFiles;
  readonly #microtasks: (() => void)[] = [];
  #busyUntilMs = 0;
  #stepping = false;
  #nextSlot = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    const size = { inodePages: options.size.blocks, ...options.size };
    this.machine = new Machine(size, options.design, options.seed, options.bytes ?? true);
    this.files = new ModelFiles(this.machine);
    this.#flusher = new Flusher(this.machine);
    this.#opened = new OpenFiles(this.machine, this.files, this.#flusher);
    this.#memory = new ModelMemory(this.machine, this.#flusher, this.#opened.descriptorOf);
    this.machine.clock.awake = () => this.#stepLater();
  }

  /** Once, however many ask for it: a step that makes the only event of the next one asks too. */
  #stepLater(): void {
    if (this.#stepping) return;
    this.#stepping = true;
    this.#options.later(this.#step);
  }

  readonly #step = (): void => {
    this.#stepping = false;
    try {
      this.machine.clock.step();
    } finally {
      if (this.machine.clock.busy) this.#stepLater();
    }
  };

  /** The program computes for so long: nothing of the engine's own runs meanwhile but what is called by the program. */
  busyFor(ms: number): void {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.machine.clock.nowMs + ms);
  }

  #onceFree(run: () => void): void {
    const leftMs = this.#busyUntilMs - this.machine.clock.nowMs;
    if (leftMs <= 0) run();
    else this.machine.clock.after(leftMs, () => this.#onceFree(run));
  }

  /** What the engine wanted to run before anything else (`bytes: false` only). */
  runMicrotasks(): void {
    for (let run = this.#microtasks.shift(); run !== undefined; run = this.#microtasks.shift()) run();
  }

  /** As `Engine.open`, in a process of that user. Default: root, who has no limit (`size.memlock`). */
  openEngine(options: EngineOptions, user = ROOT): PortableEngine {
    // Nobody else has code in this machine's one process: there's nothing to follow.
    const host = this.#host(user);
    const settings = settingsOf({ ...options, events: { userfaultfd: false } }, host.memlockBytes());
    return new PortableEngine(host, settings, startFirst(host, settings));
  }

  #host(user: number): Host {
    const { memlock } = this.machine.size;
    return {
      memory: this.#memory,
      loop: this.#loop(),
      describe,
      waitHistogram,
      memlockBytes: () =>
        user === ROOT || memlock === undefined ? Number.POSITIVE_INFINITY : memlock.pages * PAGE_BYTES,
      startScheme: (name, settings, bufferSlots) => this.#startScheme(name, settings, bufferSlots, user),
      openFollower: () => {
        throw new Error("the model has no userfaultfd");
      },
      openFile: async (path, flags) => this.#opened.open(String(path), flags ?? "r"),
    };
  }

  #loop(): Loop {
    const { clock } = this.machine;
    return {
      nowMs: () => clock.nowMs | 0,
      preciseMs: () => clock.nowMs,
      microtask: (run) => {
        // In bytes there's a program that has promises of its own: theirs and ours are one queue.
        if (this.#options.bytes ?? true) void Promise.resolve().then(run);
        else this.#microtasks.push(run);
      },
      soon: (run) => clock.after(0, () => this.#onceFree(run)),
      every: (ms, run) => clock.every(ms, () => this.#onceFree(run)),
      uncaught: this.#options.uncaught,
    };
  }

  #startScheme(name: SchemeName, settings: EngineSettings, slots: number, user: number): StartedScheme | string {
    const { depth } = settings;
    let wake = (): void => {};
    let { pin } = settings;
    const degraded: string[] = [];
    if (name === "io_uring" && pin === "lease" && !this.#hasRoom(user, LEASE_TEST_PAGES)) {
      pin = "per-io";
      degraded.push("RLIMIT_MEMLOCK leaves no room for a lease: raise it (ulimit -l). I/O goes per-io");
    }
    const bufferSlots = pin === "per-io" ? 0 : slots;
    // The ring, and the one that wakes the loop.
    const locked = name === "io_uring" ? ringPages(2 * depth, 2 * depth + bufferSlots) + ringPages(2, 4) : 0;
    if (lock(this.machine, user, locked) < 0)
      return "RLIMIT_MEMLOCK leaves no room for a ring: raise it (ulimit -l), or take a smaller depth.";
    const scheme = new ModelScheme(this.machine, {
      name,
      depth,
      bufferSlots,
      firstSlot: this.#takeSlots(bufferSlots),
      timing: this.#options.timing,
      faults: this.#options.faults ?? NO_FAULTS,
      user,
      closed: () => unlock(this.machine, user, locked),
      woken: () => this.#onceFree(wake),
      flusher: this.#flusher,
      descriptorOf: this.#opened.descriptorOf,
    });
    if (scheme.registrations === null && pin !== "per-io") degraded.push(`the scheme ${name} registers nothing`);
    return {
      scheme,
      pin: scheme.registrations === null ? "per-io" : pin,
      degraded,
      onWoken: (run) => {
        wake = run;
      },
      openWatchdog: () => this.#watchdog(scheme),
    };
  }

  /** Whether so much could be locked now. */
  #hasRoom(user: number, pages: number): boolean {
    if (lock(this.machine, user, pages) < 0) return false;
    unlock(this.machine, user, pages);
    return true;
  }

  /** A buffer table for a new ring: the first of so many slots in a row. Rings are few: they're handed out in turn. */
  #takeSlots(slots: number): number {
    if (this.#nextSlot + slots > this.machine.size.bufferSlots) this.#nextSlot = 0;
    const first = this.#nextSlot;
    this.#nextSlot += slots;
    return first;
  }

  /** The monitor thread's part: gives back what is due while the engine's own thread doesn't look. */
  #watchdog(scheme: ModelScheme): Watchdog {
    const { clock } = this.machine;
    let stop = (): void => {};
    return {
      id: 0,
      watch: (leases) => {
        const periodMs = Math.max(1, Math.min(leases[IDLE_MS]!, leases[MAX_MS]!) / 4);
        stop = clock.every(periodMs, () => {
          const nowMs = clock.nowMs | 0;
          if (leases[HELD_SLOTS] === 0 || ((nowMs - leases[HEARTBEAT_MS]!) | 0) < 2 * periodMs) return;
          forEachDue(leases, nowMs, (slot) => {
            if (!claim(leases, slot)) return;
            scheme.drop(slot);
            returned(leases, slot);
          });
        });
      },
      wake: () => {},
      close: () => stop(),
    };
  }
}

function waitHistogram(): WaitHistogram {
  const samples: number[] = [];
  return {
    record: (ms) => void samples.push(ms),
    summary: () => {
      const sorted = [...samples].sort((a, b) => a - b);
      const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
      return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
    },
  };
}
