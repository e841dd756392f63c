/** World for the shipped engine on the simulated machine: each port is implemented by a part of the model. */

import {
  type ChromeTrace,
  type EngineOptions,
  type EngineSettings,
  type Host,
  invariant,
  LeaseLanes,
  type Loop,
  MMAN,
  type MonitorClient,
  type MonitorEnded,
  MonitorSupervisor,
  makeEngine,
  NO_ROOM_FOR_LEASE,
  NO_ROOM_FOR_RING,
  PAGE_BYTES,
  type PortableEngine,
  type PressureSource,
  type Range,
  type SchemeName,
  type StartedScheme,
  settingsOf,
  startFirst,
  startSteps,
  type WaitHistogram,
  without,
} from "pinless/portable";
import { type ModelFaults, NO_FAULTS } from "../model/faults.js";
import { ModelFiles } from "../model/files.js";
import { Flusher } from "../model/flusher.js";
import { Machine } from "../model/machine.js";
import { lock, ROOT, ringPages, unlock } from "../model/memlock-account.js";
import { type CallTiming, MemoryCalls } from "../model/memory-calls.js";
import { ModelMemory } from "../model/model-memory.js";
import type { ModelScheme, ModelTiming } from "../model/model-scheme.js";
import { RequestFlags } from "../model/request-flags.js";
import type { KernelDesign, MachineSize } from "../model/tables.js";
import { type ModelThread, ModelThreads } from "../model/threads.js";
import { JudgedScheme } from "./judged-scheme.js";
import { describe, OpenFiles } from "./open-files.js";
import { type MonitorTiming, SimulatedMonitor } from "./simulated-monitor.js";

/** Pages that the real start-up test of leases locks: those of its ring, and two registrations of 64 KiB. */
const LEASE_TEST_PAGES = 2 + 2 * 16;
const MONITOR_TIMING: MonitorTiming = { stepMs: 0.005, keptMs: 0 };
const CALL_TIMING: CallTiming = { unseenMs: 0.05, zapMs: 0.15 };

export interface WorldOptions {
  readonly seed: number;
  readonly design: KernelDesign;
  readonly size: MachineSize;
  readonly timing: ModelTiming;
  readonly faults?: ModelFaults;
  /** Number of pages that pay for a lease, in tables where it has to; 0 by default. */
  readonly leaseCostPages?: number;
  /** Speed of the monitor's thread; and of other threads' memory calls. */
  readonly monitorTiming?: MonitorTiming;
  readonly callTiming?: CallTiming;
  /** False if the kernel refuses a userfaultfd to the next monitor after one has died. */
  readonly monitorFollowsAgain?: boolean;
  /**
   * True if programs see bytes in their memory. If false, contents are only tags, which is much faster. Default true.
   */
  readonly bytes?: boolean;
  /** Signs of memory pressure for engines; without them memory is never short. */
  readonly pressure?: PressureSource;
  /** Runs a step of the machine after all that the program has to do now: setImmediate, or its equivalent. */
  readonly later: (step: () => void) => void;
  /** Receives uncaught errors. */
  readonly uncaught: (error: unknown) => void;
}

/** One machine with its files, and engines on it. Time advances as long as events are scheduled. */
export class SimulatedWorld {
  readonly machine: Machine;
  readonly files: ModelFiles;
  readonly flusher: Flusher;
  readonly flags = new RequestFlags();
  readonly #options: WorldOptions;
  readonly #memory: ModelMemory;
  readonly #opened: OpenFiles;
  readonly #microtasks: (() => void)[] = [];
  readonly threads: ModelThreads;
  /** Lanes of the run, if they're written. */
  lanes: ChromeTrace | null = null;
  /** Memory calls by threads of the program that aren't the engine's. */
  readonly calls: MemoryCalls;
  readonly #mainThread: ModelThread;
  readonly #ourTids: Int32Array;
  readonly #reading = new Int32Array(1);
  readonly #drain = new Int32Array(1);
  readonly #told: Range[] = [];
  /** Functions that empty a slot of a ring's buffer table, by the ring's number. */
  readonly #rings: ((slot: number) => void)[] = [];
  /** The monitor's supervisor, one for all engines. */
  readonly #supervisor: MonitorSupervisor<SimulatedMonitor>;
  #monitor: SimulatedMonitor | null = null;
  #busyUntilMs = 0;
  #stepping = false;
  /** True while the engine's own thread is in a call that hasn't returned. */
  #inCall = false;
  #afterCall: (() => void)[] = [];
  #nextSlot = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    const size = { inodePages: options.size.blocks, ...options.size };
    this.machine = new Machine(size, options.design, options.seed, options.bytes ?? true);
    this.files = new ModelFiles(this.machine);
    this.flusher = new Flusher(this.machine);
    this.#opened = new OpenFiles(this.machine, this.files, this.flusher, this.flags);
    this.threads = new ModelThreads(this.machine);
    this.calls = new MemoryCalls(
      this.machine,
      options.callTiming ?? CALL_TIMING,
      () => this.#monitor?.userfaultfd ?? null,
    );
    this.#mainThread = this.threads.start();
    this.#mainThread.runs();
    const memoryThread = this.threads.start();
    this.#ourTids = Int32Array.of(memoryThread.tid);
    this.#memory = new ModelMemory({
      machine: this.machine,
      flusher: this.flusher,
      descriptorOf: this.#opened.descriptorOf,
      removal: (range) => this.calls.removal(memoryThread, range),
    });
    this.#supervisor = new MonitorSupervisor({
      start: (clients, ended) => this.#startMonitor(clients, ended),
      loop: this.#loop(),
      endsIdle: false,
      explain: (errno) => `the machine refuses with errno ${-errno}`,
    });
    this.machine.clock.awake = () => this.#stepLater();
  }

  /** Schedules the next step once, even if several callers ask for it. */
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

  /** Thread id of the engine's own thread. */
  get ownTid(): number {
    return this.#mainThread.tid;
  }

  /** Lets the program compute for `ms`: meanwhile the engine runs only if the program calls it. */
  busyFor(ms: number): void {
    this.#busyUntilMs = Math.max(this.#busyUntilMs, this.machine.clock.nowMs + ms);
  }

  #onceFree(run: () => void): void {
    if (this.#inCall) {
      this.#afterCall.push(run);
      return;
    }
    const leftMs = this.#busyUntilMs - this.machine.clock.nowMs;
    if (leftMs <= 0) run();
    else this.machine.clock.after(leftMs, () => this.#onceFree(run));
  }

  /** True while the engine's own thread is in a call, so that its program can't do anything else. */
  get inCall(): boolean {
    return this.#inCall;
  }

  /**
   * Discards memory by a call of the engine's own thread, which does nothing else until that has returned. Time
   * advances inside this method.
   */
  discardHere(range: Range): void {
    this.#inCall = true;
    this.calls.discard(this.#mainThread, range, MMAN.MADV_DONTNEED, () => {
      this.#inCall = false;
    });
    while (this.#inCall) invariant("BOUNDED_WAIT", this.machine.clock.step(), "a call of the program's never returns");
    for (const run of this.#afterCall.splice(0)) this.machine.clock.after(0, () => this.#onceFree(run));
  }

  /** True if the monitor has notified the engine that other code has unmapped a range. */
  hasToldOf(range: Range): boolean {
    return without(range, this.#told).length === 0;
  }

  /** Kills the monitor's thread in any state; `again` is called once another one follows all segments. */
  killMonitor(again: () => void): void {
    const witness = this.#supervisor.openWatchdog(-1, (whenAgain) => {
      witness.close();
      whenAgain((why) => {
        if (why === "") again();
      });
    });
    this.#monitor?.die();
  }

  /** Runs the engine's microtasks (with `bytes: false` only). */
  runMicrotasks(): void {
    for (let run = this.#microtasks.shift(); run !== undefined; run = this.#microtasks.shift()) run();
  }

  /** Opens an engine, as `Engine.open`, in a process of a user. Default: root, which has no memlock limit. */
  openEngine(options: EngineOptions, user = ROOT): PortableEngine {
    const host = this.#host(user);
    const settings = settingsOf(options, host.memlockBytes());
    return makeEngine(host, settings, startFirst(host, settings));
  }

  #host(user: number): Host {
    const { memlock } = this.machine.size;
    const { pressure } = this.#options;
    return {
      ...(pressure === undefined ? {} : { openPressure: () => ({ source: pressure, missing: [] }) }),
      memory: this.#memory,
      loop: this.#loop(),
      describe,
      waitHistogram,
      memlockBytes: () =>
        user === ROOT || memlock === undefined ? Number.POSITIVE_INFINITY : memlock.pages * PAGE_BYTES,
      startScheme: (name, settings, bufferSlots) => this.#startScheme(name, settings, bufferSlots, user),
      openFollower: (calls, ended) => this.#supervisor.openFollower(calls, ended),
      reading: this.#reading,
      openFile: async (path, flags) =>
        typeof path === "object" && "fd" in path
          ? this.#opened.duplicate(path.fd)
          : this.#opened.open(String(path), flags ?? "r"),
    };
  }

  #loop(): Loop {
    const { clock } = this.machine;
    return {
      nowMs: () => clock.nowMs | 0,
      preciseMs: () => clock.nowMs,
      microtask: (run) => {
        // With `bytes` a real program runs, with promises of its own, so the microtasks share one queue.
        if (this.#options.bytes ?? true) void Promise.resolve().then(run);
        else this.#microtasks.push(run);
      },
      soon: (run) => clock.after(0, () => this.#onceFree(run)),
      every: (ms, run) => clock.every(ms, () => this.#onceFree(run)),
      after: (ms, run) => clock.after(ms, () => this.#onceFree(run)),
      uncaught: this.#options.uncaught,
    };
  }

  #startScheme(name: SchemeName, settings: EngineSettings, slots: number, user: number): StartedScheme | string {
    const leases = {
      explainNone: () => (this.#hasRoom(user, LEASE_TEST_PAGES) ? null : NO_ROOM_FOR_LEASE),
      openWatchdog: (scheme: ModelScheme, ended: MonitorEnded) =>
        this.#supervisor.openWatchdog(this.#rings.push((slot) => scheme.drop(slot)) - 1, ended),
    };
    const open = (bufferSlots: number, woken: () => void): ModelScheme | string => {
      const { depth } = settings;
      // Two rings: the scheme's, and the one that wakes the loop.
      const locked = name === "io_uring" ? ringPages(2 * depth, 2 * depth + bufferSlots) + ringPages(2, 4) : 0;
      if (lock(this.machine.frames, user, locked) < 0) return NO_ROOM_FOR_RING;
      const schemeOptions = {
        name,
        depth,
        bufferSlots,
        firstSlot: this.#takeSlots(bufferSlots),
        timing: this.#options.timing,
        faults: this.#options.faults ?? NO_FAULTS,
        flags: this.flags,
        user,
        closed: () => unlock(this.machine.frames, user, locked),
        woken: () => this.#onceFree(woken),
        flusher: this.flusher,
        descriptorOf: this.#opened.descriptorOf,
      };
      return new JudgedScheme(this.machine, schemeOptions, {
        maxMs: settings.maxGrows ? Number.POSITIVE_INFINITY : settings.maxMs,
        costPages: this.#options.leaseCostPages ?? 0,
        lanes: this.lanes === null ? null : new LeaseLanes(this.lanes),
      });
    };
    return startSteps(name, settings, slots, name === "io_uring" ? { open, leases } : { open });
  }

  /** True if a user could lock this number of pages now. */
  #hasRoom(user: number, pages: number): boolean {
    if (lock(this.machine.frames, user, pages) < 0) return false;
    unlock(this.machine.frames, user, pages);
    return true;
  }

  /** Allocates a buffer table for a new ring: returns the first of `slots` consecutive slots. They are never reused. */
  #takeSlots(slots: number): number {
    if (this.#nextSlot + slots > this.machine.size.bufferSlots) this.#nextSlot = 0;
    const first = this.#nextSlot;
    this.#nextSlot += slots;
    return first;
  }

  #startMonitor(clients: Iterable<MonitorClient>, ended: (why: Error) => void): SimulatedMonitor {
    this.#monitor = new SimulatedMonitor({
      machine: this.machine,
      timing: this.#options.monitorTiming ?? MONITOR_TIMING,
      threads: this.threads,
      ownTid: this.#mainThread.tid,
      ourTids: this.#ourTids,
      drain: this.#drain,
      reading: this.#reading,
      clients,
      told: this.#told,
      lanes: this.lanes,
      follows: this.#monitor === null || this.#options.monitorFollowsAgain !== false,
      emptySlotOf: (ring) => this.#rings[ring]!,
      ended,
      onceFree: (run) => this.#onceFree(run),
    });
    return this.#monitor;
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
