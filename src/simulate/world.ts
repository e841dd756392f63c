/** The engine that ships, on the machine: every port has its part of the model behind it. */

import { systemError } from "../core/errors.js";
import type { Host, NodeHandle, OpenedFile, StartedScheme, WaitHistogram } from "../core/host.js";
import { claim, forEachDue, HEARTBEAT_MS, HELD_SLOTS, IDLE_MS, MAX_MS, returned } from "../core/lease-table.js";
import { type EngineOptions, type EngineSettings, settingsOf } from "../core/options.js";
import type { Loop, SchemeName, Watchdog } from "../core/ports.js";
import { PortableEngine, startFirst } from "../engine.js";
import { PAGE_BYTES } from "../model/contents.js";
import { type Descriptor, type ModelFile, ModelFiles } from "../model/files.js";
import { Machine } from "../model/machine.js";
import { lock, ROOT, ringPages, unlock } from "../model/memlock.js";
import { ModelMemory } from "../model/memory-thread.js";
import { type ModelFaults, ModelScheme, type ModelTiming, NO_FAULTS } from "../model/scheme.js";
import type { Design, MachineSize } from "../model/tables.js";

/** What the real start-up test of leases has locked: its ring, and two registrations of 64 KiB. */
const LEASE_TEST_PAGES = 2 + 2 * 16;
const ENOENT = 2;
const EBADF = 9;
const NAMES: Record<number, readonly [string, string]> = {
  2: ["ENOENT", "no such file or directory"],
  9: ["EBADF", "bad file descriptor"],
  11: ["EAGAIN", "resource temporarily unavailable"],
  12: ["ENOMEM", "not enough memory"],
  14: ["EFAULT", "bad address in system call argument"],
  22: ["EINVAL", "invalid argument"],
  125: ["ECANCELED", "operation canceled"],
};

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
  readonly #open = new Map<number, Descriptor>();
  readonly #microtasks: (() => void)[] = [];
  #busyUntilMs = 0;
  #nextFd = 3;
  #nextSlot = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.machine = new Machine(options.size, options.design, options.seed, options.bytes ?? true);
    this.files = new ModelFiles(this.machine);
    this.#memory = new ModelMemory(this.machine);
    this.machine.clock.awake = () => options.later(this.#step);
  }

  readonly #step = (): void => {
    try {
      this.machine.clock.step();
    } finally {
      if (this.machine.clock.busy) this.#options.later(this.#step);
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
      describe: (errno) => NAMES[-errno] ?? [`errno ${-errno}`, "unknown error"],
      waitHistogram,
      memlockBytes: () =>
        user === ROOT || memlock === undefined ? Number.POSITIVE_INFINITY : memlock.pages * PAGE_BYTES,
      startScheme: (name, settings, bufferSlots) => this.#startScheme(name, settings, bufferSlots, user),
      openFollower: () => {
        throw new Error("the model has no userfaultfd");
      },
      openFile: async (path, flags) => this.#openFile(String(path), flags ?? "r"),
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
      descriptorOf: (fd) => this.#open.get(fd),
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

  #openFile(path: string, flags: string | number): OpenedFile {
    if (flags !== "r" && flags !== "r+" && flags !== "w" && flags !== "a")
      throw new Error(`the model's files aren't opened with "${flags}"`);
    const file = this.files.get(path) ?? (flags === "w" || flags === "a" ? this.files.create(path) : undefined);
    if (file === undefined) throw systemError((e) => NAMES[-e]!, -ENOENT, "open", path);
    if (flags === "w") file.truncate(0);
    const fd = this.#nextFd++;
    const directFd = this.#nextFd++;
    const append = flags === "a";
    const descriptor = { file, readable: flags === "r" || flags === "r+", writable: flags !== "r", append };
    this.#open.set(fd, descriptor);
    this.#open.set(directFd, descriptor);
    return {
      handle: this.#handle(fd, file, descriptor.writable),
      identity: String(file.number),
      directFd,
      memoryAlign: 4096,
      offsetAlign: 4096,
      seekable: true,
      socket: false,
      append,
      readable: descriptor.readable,
      writable: descriptor.writable,
      closeDirect: () => void this.#open.delete(directFd),
    };
  }

  #handle(fd: number, file: ModelFile, writable: boolean): NodeHandle {
    const assertWritable = (syscall: string): void => {
      if (!writable) throw systemError((e) => NAMES[-e]!, -EBADF, syscall);
    };
    return {
      fd,
      stat: async () => ({ size: file.bytes, mode: file.mode, isFile: () => true }),
      truncate: async (length = 0) => {
        assertWritable("ftruncate");
        file.truncate(length);
      },
      sync: async () => {},
      datasync: async () => {},
      chmod: async (mode) => {
        file.mode = Number(mode);
      },
      chown: async () => {},
      utimes: async () => {},
      close: async () => void this.#open.delete(fd),
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
