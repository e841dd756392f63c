/**
 * The monitor's thread in virtual time: runs the shipped state machine (protocol/monitor/state-machine.ts). Each step
 * takes time, and the thread may die between any two steps.
 */

import {
  beginReading,
  type ChromeTrace,
  EACCES,
  type FollowMessage,
  LeaseClock,
  MONITOR,
  type MonitorClient,
  MonitorClients,
  MonitorLoop,
  MonitorMachine,
  type MonitorPort,
  type MonitorReport,
  PAGE_BYTES,
  type Range,
  type ToMonitor,
  type UnfollowMessage,
} from "pinless/portable";
import type { Machine } from "../model/machine.js";
import { ModelUserfaultfd } from "../model/model-userfaultfd.js";
import type { ModelThreads } from "../model/threads.js";

export interface MonitorTiming {
  /** Maximum time of a step. */
  readonly stepMs: number;
  /** Maximum time for which the thread is sometimes not scheduled, or a message delayed; 0 for never. */
  readonly keptMs: number;
}

export interface MonitorThreadParts {
  readonly machine: Machine;
  readonly timing: MonitorTiming;
  readonly threads: ModelThreads;
  readonly ownTid: number;
  readonly ourTids: Int32Array;
  readonly drain: Int32Array;
  readonly reading: Int32Array;
  /** Clients of the previous thread, which this one takes over. */
  readonly clients: Iterable<MonitorClient>;
  /** Ranges whose unmapping was reported to the engine's thread; this thread adds to them. */
  readonly told: Range[];
  /** Lanes of the run, if they're written. */
  readonly lanes: ChromeTrace | null;
  /** False if the kernel refuses a userfaultfd. */
  readonly follows: boolean;
  /** Empties a slot of a ring's buffer table. */
  emptySlotOf(ring: number): (slot: number) => void;
  /** Called on the engine's thread when it's notified that this one has ended. */
  ended(why: Error): void;
  /** Runs a function on the engine's thread as soon as that is free. */
  onceFree(run: () => void): void;
}

/** Names of the machine's states, by their numbers. */
const STATES = Object.keys(MONITOR).map((name) => name.toLowerCase().replace("_", " "));
const KEPT_RARELY = 1 / 32;
/** Maximum number of boundaries between mappings inside a segment, as locks or advice on parts of it make them. */
const MOST_EDGES = 2;

export class SimulatedMonitor implements MonitorPort {
  readonly userfaultfd = new ModelUserfaultfd();
  dead = false;
  readonly clients: MonitorClients;
  readonly #parts: MonitorThreadParts;
  readonly #monitor: MonitorMachine;
  readonly #loop: MonitorLoop;
  readonly #leases = new LeaseClock();
  /** Wakes the thread from its sleep on the drain word; null if it's awake. */
  #woken: (() => void) | null = null;
  /** Jobs of the thread; the first one is running or next. */
  readonly #jobs: { readonly begin: () => void; readonly done: () => void }[] = [];
  #working = false;
  /** Messages from the engine's thread; and to it. */
  #inbox: ToMonitor[] = [];
  readonly #outbox: (() => void)[] = [];
  readonly #asked = new Map<number, { resolve(errno: number): void; reject(why: Error): void }>();
  /** Reason of its end, once the engine's thread has been notified. */
  #ended: Error | null = null;

  constructor(parts: MonitorThreadParts) {
    const { machine, threads, ownTid, ourTids, drain, reading, clients } = parts;
    this.#parts = parts;
    this.clients = new MonitorClients(drain, reading, () => this.#wake());
    for (const client of clients) this.clients.add(client);
    this.#monitor = new MonitorMachine({
      drain,
      reading,
      ownTid,
      ourTids,
      threads,
      leases: this.#leases,
      nowMs: () => machine.clock.nowMs,
      next: () => this.userfaultfd.next(),
      post: (report) => this.#post(report),
    });
    this.#loop = new MonitorLoop({
      monitor: this.#monitor,
      run: (begin, done) => this.#run(begin, done),
      lookAfter: (ms, look) => machine.clock.after(ms, look),
      tickAfter: (ms, tick) => {
        const stop = machine.clock.every(ms, () => {
          stop();
          tick();
        });
        return stop;
      },
      leaseNowMs: () => machine.clock.nowMs | 0,
      obey: () => this.#obeyAll(),
      arm: () => this.#arm(),
    });
    this.#arm();
  }

  /**
   * Kills the thread in any state. Its descriptors are closed; the engine's thread is notified as soon as it's free.
   */
  die(): void {
    if (this.dead) return;
    this.dead = true;
    this.#parts.lanes?.end("monitor", "job");
    beginReading(this.#parts.reading);
    this.userfaultfd.close();
    this.#deliver(() => {
      const why = new Error("the monitor thread was killed");
      this.#ended = why;
      // Requests that it hadn't handled are rejected.
      for (const { reject } of this.#asked.values()) reject(why);
      this.#parts.ended(why);
    });
  }

  #post(report: MonitorReport): void {
    this.#show(report);
    if (report.kind === "unmapped") this.#parts.told.push(report.gone);
    this.#deliver(() => this.clients.obey(report));
  }

  /** Shows a start as an invalidation, with flows from the calls that caused it, and to the I/O that it waits for. */
  #show(report: MonitorReport): void {
    const { lanes } = this.#parts;
    if (lanes === null) return;
    if (report.kind === "end") lanes.end("invalidations", `start ${report.id}`);
    if (report.kind !== "start") return;
    const key = `start ${report.id}`;
    const start = Math.min(...report.ranges.map((range) => range.start));
    const range = { start, end: Math.max(...report.ranges.map(({ end }) => end)) };
    lanes.begin("invalidations", key, "drain for other code", { start: report.id }, { range });
    lanes.causedBy("other threads", "is drained for", "invalidations", key);
    lanes.waitsFor("invalidations", key, "requests", "waits for I/O");
  }

  /** Delivers a message after a random time; messages keep their order. */
  #deliver(message: () => void): void {
    const { machine, onceFree } = this.#parts;
    this.#outbox.push(message);
    machine.clock.after(this.#takes(), () => onceFree(() => this.#outbox.shift()!()));
  }

  send(message: ToMonitor): void {
    if (this.dead) return;
    this.#inbox.push(message);
    this.#parts.machine.clock.after(this.#takes(), () => this.#run(() => this.#obeyAll()));
  }

  ask(message: FollowMessage | UnfollowMessage): Promise<number> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#asked.set(message.id, { resolve, reject });
      this.send(message);
    });
  }

  #obeyAll(): void {
    for (let m = this.#inbox.shift(); m !== undefined; m = this.#inbox.shift()) this.#obey(m);
  }

  #obey(message: ToMonitor): void {
    switch (message.kind) {
      case "watch":
        this.#leases.watch(message.id, message.leases, this.#parts.emptySlotOf(message.ringFd));
        break;
      case "unwatch":
        this.#leases.unwatch(message.id);
        break;
      case "wake":
        this.#loop.tick();
        break;
      case "follow":
        if (this.#parts.follows) this.#follow(message);
        this.#answer(message.id, this.#parts.follows ? 0 : -EACCES);
        break;
      case "unfollow":
        if (this.#monitor.segments.delete(message.id))
          for (const piece of message.pieces) this.userfaultfd.unregister(piece);
        this.#answer(message.id);
        break;
    }
  }

  #follow(segment: FollowMessage): void {
    this.#monitor.segments.add(segment);
    const { start, end } = segment.range;
    const { random } = this.#parts.machine;
    const edge = (): number =>
      start + random.stream("edge of a mapping").below((end - start) / PAGE_BYTES) * PAGE_BYTES;
    const edges = random.stream("edges of mappings").below(MOST_EDGES + 1);
    this.userfaultfd.register(segment.range, Array.from({ length: edges }, edge));
  }

  #answer(id: number, errno = 0): void {
    this.#deliver(() => {
      this.#asked.get(id)?.resolve(errno);
      this.#asked.delete(id);
    });
  }

  #arm(): void {
    this.userfaultfd.arm(() => this.#parts.machine.clock.after(this.#takes(), this.#loop.readable));
  }

  /** Queues a job: `begin` is called when all before it have ended, `done` when the machine is watching again. */
  #run(begin: () => void, done: () => void = () => {}): void {
    if (this.dead) return;
    this.#jobs.push({ begin, done });
    if (!this.#working) this.#work();
  }

  #work(): void {
    const job = this.#jobs.shift();
    this.#working = job !== undefined;
    if (job === undefined) return;
    this.#parts.lanes?.begin("monitor", "job", "works", {}, { lane: 0 });
    job.begin();
    this.#goOn(job.done);
  }

  #goOn(done: () => void): void {
    if (this.dead) return;
    this.#parts.lanes?.instant("monitor", STATES[this.#monitor.state.doing]!);
    const wait = this.#monitor.step();
    if (wait === null) {
      this.#parts.lanes?.end("monitor", "job");
      done();
      this.#work();
      return;
    }
    const { ms, whileWord } = wait;
    const { clock } = this.#parts.machine;
    let slept = false;
    const wake = (): void => {
      if (slept) return;
      slept = true;
      this.#woken = null;
      clock.after(this.#takes(), () => this.#goOn(done));
    };
    if (ms === 0 || (whileWord !== null && this.#parts.drain[0] !== whileWord)) {
      wake();
      return;
    }
    if (whileWord !== null) this.#woken = wake;
    clock.after(ms, wake);
  }

  #wake(): void {
    this.#woken?.();
  }

  #takes(): number {
    const { machine, timing } = this.#parts;
    const { stepMs, keptMs } = timing;
    const kept = keptMs > 0 && machine.random.stream("the monitor is kept from running").chance(KEPT_RARELY);
    return machine.random.stream("the monitor's step ms").upTo(kept ? keptMs : stepMs);
  }
}
