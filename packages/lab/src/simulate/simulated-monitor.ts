/**
 * The monitor's thread in virtual time: runs the state machine that ships (protocol/monitor/state-machine.ts), each
 * step taking its time; and may die between any two of them.
 */

import {
  beginReading,
  type ChunkTable,
  type Follower,
  type ForeignCalls,
  LeaseClock,
  type MonitorClient,
  MonitorClients,
  type MonitorEnded,
  MonitorLoop,
  MonitorMachine,
  type MonitorReport,
  PAGE_BYTES,
  type Range,
  type Watchdog,
  without,
} from "pinless/portable";
import type { Machine } from "../model/machine.js";
import { ModelUserfaultfd } from "../model/model-userfaultfd.js";
import type { ModelThreads } from "../model/threads.js";

export interface MonitorTiming {
  /** A step takes up to this. */
  readonly stepMs: number;
  /** Now and then others have the processor for up to so long; also between a message and its arrival. 0: never. */
  readonly keptMs: number;
}

export interface MonitorThreadParts {
  readonly machine: Machine;
  readonly timing: MonitorTiming;
  readonly threads: ModelThreads;
  readonly ownTid: number;
  readonly ourTids: Int32Array;
  readonly reading: Int32Array;
  /** Runs something on the engine's thread, once that has time. */
  onceFree(run: () => void): void;
}

/** Engines that it served go on without. */
const notAgain = (run: (why: string) => void): void => run("it isn't started again");
const KEPT_RARELY = 1 / 32;
/** Parts of a segment that are mappings of their own, as huge pages or locks in parts of it make them. */
const MOST_EDGES = 2;

export class MonitorThread {
  readonly userfaultfd = new ModelUserfaultfd();
  dead = false;
  readonly #parts: MonitorThreadParts;
  readonly #monitor: MonitorMachine;
  readonly #loop: MonitorLoop;
  readonly #leases = new LeaseClock();
  readonly #clients: MonitorClients;
  readonly #drain = new Int32Array(1);
  /** Where it sleeps on the word that it shares with the engine's thread. */
  #woken: (() => void) | null = null;
  /** What it has to do next. */
  readonly #jobs: { readonly begin: () => void; readonly done: () => void }[] = [];
  #working = false;
  /** From the engine's thread; and to it. */
  #inbox: (() => void)[] = [];
  readonly #outbox: (() => void)[] = [];
  /** What it has told the engine's thread to be unmapped. */
  readonly #told: Range[] = [];
  #nextId = 0;

  constructor(parts: MonitorThreadParts) {
    const { machine, threads, ownTid, ourTids, reading } = parts;
    this.#parts = parts;
    this.#clients = new MonitorClients(this.#drain, reading, () => this.#wake());
    this.#monitor = new MonitorMachine({
      drain: this.#drain,
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

  /** `empty` empties a slot of the ring's buffer table. */
  openWatchdog(empty: (slot: number) => void, ended: MonitorEnded): Watchdog {
    const id = this.#nextId++;
    const client: MonitorClient = { calls: null, lost: () => ended(notAgain, false) };
    this.#clients.add(client);
    return {
      id,
      watch: (leases) => this.#send(() => this.#leases.watch(id, leases, empty)),
      wake: () => this.#send(this.#loop.tick),
      close: () => {
        this.#clients.delete(client);
        this.#send(() => this.#leases.unwatch(id));
      },
    };
  }

  openFollower(calls: ForeignCalls, ended: MonitorEnded): Follower {
    const client: MonitorClient = { calls, lost: () => ended(notAgain, false) };
    this.#clients.add(client);
    const ids = new Map<ChunkTable, number>();
    return {
      follow: async (table, watchdog) => {
        const id = this.#nextId++;
        ids.set(table, id);
        const { range, chunkBytes, words } = table;
        await this.#ask(() => {
          this.#monitor.segments.add({ id, range, chunkBytes, words, watched: watchdog?.id ?? -1 });
          const { random } = this.#parts.machine;
          const pages = (range.end - range.start) / PAGE_BYTES;
          const edge = (): number => range.start + random.stream("edge of a mapping").below(pages) * PAGE_BYTES;
          const edges = random.stream("edges of mappings").below(MOST_EDGES + 1);
          this.userfaultfd.register(range, Array.from({ length: edges }, edge));
        });
        return "";
      },
      unfollow: async (table) => {
        const id = ids.get(table);
        if (id === undefined) return;
        ids.delete(table);
        await this.#ask(() => {
          if (!this.#monitor.segments.delete(id)) return;
          for (const piece of without(table.range, table.gone)) this.userfaultfd.unregister(piece);
        });
      },
      close: () => this.#clients.delete(client),
    };
  }

  /**
   * In the middle of whatever it does. Its descriptors are closed; the engine's thread hears of it when it has time.
   */
  die(): void {
    if (this.dead) return;
    this.dead = true;
    beginReading(this.#parts.reading);
    this.userfaultfd.close();
    this.#deliver(() => {
      // What it hadn't got to is answered by its end.
      for (const obey of this.#inbox.splice(0)) obey();
      this.#clients.lost();
    });
  }

  hasToldOf(range: Range): boolean {
    return without(range, this.#told).length === 0;
  }

  #post(report: MonitorReport): void {
    if (report.kind === "unmapped") this.#told.push(report.gone);
    this.#deliver(() => this.#clients.obey(report));
  }

  /** Messages arrive in their order. */
  #deliver(message: () => void): void {
    const { machine, onceFree } = this.#parts;
    this.#outbox.push(message);
    machine.clock.after(this.#takes(), () => onceFree(() => this.#outbox.shift()!()));
  }

  #send(obey: () => void): void {
    if (this.dead) return;
    this.#inbox.push(obey);
    this.#parts.machine.clock.after(this.#takes(), () => this.#run(() => this.#obeyAll()));
  }

  #ask(obey: () => void): Promise<void> {
    if (this.dead) return Promise.resolve();
    return new Promise((resolve) =>
      this.#send(() => {
        if (!this.dead) obey();
        this.#deliver(resolve);
      }),
    );
  }

  #obeyAll(): void {
    for (let obey = this.#inbox.shift(); obey !== undefined; obey = this.#inbox.shift()) obey();
  }

  #arm(): void {
    this.userfaultfd.arm(() => this.#parts.machine.clock.after(this.#takes(), this.#loop.readable));
  }

  /** Begins once what is before it has ended; `done` is called when the machine is watching again. */
  #run(begin: () => void, done: () => void = () => {}): void {
    if (this.dead) return;
    this.#jobs.push({ begin, done });
    if (!this.#working) this.#work();
  }

  #work(): void {
    const job = this.#jobs.shift();
    this.#working = job !== undefined;
    if (job === undefined) return;
    job.begin();
    this.#goOn(job.done);
  }

  #goOn(done: () => void): void {
    if (this.dead) return;
    const wait = this.#monitor.step();
    if (wait === null) {
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
    if (ms === 0 || (whileWord !== null && this.#drain[0] !== whileWord)) {
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
