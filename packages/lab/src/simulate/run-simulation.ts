/**
 * One simulated run: the shipped engine on the simulated machine, under the load and the faults that its seed
 * determines. The same seed gives the same run.
 */

import {
  ChromeTrace,
  InvariantViolation,
  MMAN,
  type OperationReport,
  PAGE_BYTES,
  type PortableEngine,
  violated,
} from "pinless/portable";
import { ROOT } from "../model/memlock-account.js";
import { HUGE_PAGES } from "../model/tables.js";
import { startDaemons } from "./daemons.js";
import { MappedFile } from "./mapped-file-load.js";
import { Oracle } from "./oracle.js";
import { OtherThreads } from "./other-threads.js";
import { Pace } from "./pace.js";
import { fillFile, Requests, type SimulatedArena } from "./requests.js";
import type { Failure, RunOptions, RunReport } from "./run-report.js";
import type { SimulatedWorld } from "./simulated-world.js";
import { type Swarm, swarmOf } from "./swarm.js";
import { worldOf } from "./swarm-world.js";
import { Trace } from "./trace.js";

/** Time without progress after which a run counts as stuck: far more than any request takes. */
const STUCK_MS = 60_000;
/** Number of the machine's steps, and of additional ones for each millisecond, after which a run counts as stuck. */
const STUCK_STEPS = 20_000;
const STUCK_STEPS_A_MS = 1000;
/** Number of requests, operations and other events on pages between two checks of all pages. */
const LOOK_EVERY = 32;

const OPERATIONS = ["discard", "lazily", "collapse", "pageOut"] as const;

export async function simulate(options: RunOptions): Promise<RunReport> {
  const run = new SimulationRun(options);
  let failure: Failure | null = null;
  try {
    await run.all();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const what = error instanceof InvariantViolation ? error.invariant : error.name;
    failure = { what, message: error.message, atMs: run.nowMs };
    run.trace.lanes?.instant("kernel", "failure", { what, message: error.message });
  } finally {
    run.trace.lanes?.close();
  }
  const { submitted, operations, nowMs, trace } = run;
  return { seed: options.seed, requests: submitted, operations, virtualMs: nowMs, trace: trace.digest, failure };
}

class SimulationRun {
  readonly trace: Trace;
  operations = 0;
  readonly #swarm: Swarm;
  readonly #most: number;
  readonly #world: SimulatedWorld;
  readonly #oracle: Oracle;
  readonly #engine: PortableEngine;
  #arena!: SimulatedArena;
  #requests: Requests | null = null;
  #mapped: MappedFile | null = null;
  #operating = 0;
  /** Events until the next check of all pages. */
  #lookAfter = LOOK_EVERY;
  #progressAtMs = 0;
  /**
   * True once a monitor has died: its restart uses promises, which get their turn only then, because that costs time.
   */
  #monitorDied = false;
  #stepsWithout = 0;
  #awaiting = false;
  #error: unknown = null;
  readonly #pace: Pace;
  /** Memory operations in progress, by number. */
  readonly #operations = new Set<number>();
  /** Other code's threads; null if there are none. */
  readonly #others: OtherThreads | null;

  constructor({ seed, requests, changes, steps, lanes }: RunOptions) {
    this.#swarm = { ...swarmOf(seed), ...changes };
    const chunkBytes = this.#swarm.engine.lease?.chunk ?? HUGE_PAGES * PAGE_BYTES;
    const toLanes = lanes === undefined ? null : new ChromeTrace(lanes, () => this.nowMs, chunkBytes);
    this.trace = new Trace(steps ?? null, () => this.nowMs, toLanes);
    this.#most = requests;
    const { engine, memlockPages } = this.#swarm;
    this.#world = worldOf(this.#swarm, seed, (error) => {
      this.#error ??= error;
    });
    this.#world.lanes = this.trace.lanes;
    this.#oracle = new Oracle(this.#world.machine.size.pages);
    this.#engine = this.#world.openEngine(engine, memlockPages > 0 ? 0 : ROOT);
    this.#others = this.#otherThreads();
    this.#pace = new Pace({
      machine: this.#world.machine,
      stormTimes: this.#swarm.stormTimes,
      submitted: () => this.submitted,
      isOver: () => this.submitted >= this.#most,
      inCall: () => this.#world.inCall,
    });
  }

  /** Creates other code's threads if their calls are followed: otherwise reads would be lost. */
  #otherThreads(): OtherThreads | null {
    const { design, engine, foreignDiscardMs, foreignUnmapMs, ownDiscardMs, requestPages } = this.#swarm;
    // In the proposal's kernel the calls themselves wait for I/O.
    if (engine.events?.userfaultfd === false || design !== "gup") return null;
    if (foreignDiscardMs + foreignUnmapMs + ownDiscardMs === 0) return null;
    return new OtherThreads({
      world: this.#world,
      oracle: this.#oracle,
      bufferPages: requestPages,
      moves: this.#swarm.forkMs === 0,
      operations: () => this.#operations,
      trace: this.trace,
    });
  }

  get nowMs(): number {
    return this.#world.machine.clock.nowMs;
  }

  get submitted(): number {
    return this.#requests?.submitted ?? 0;
  }

  async all(): Promise<void> {
    const requests = await this.#until(this.#open());
    this.#requests = requests;
    this.#daemons(requests);
    await this.#goOn(() => this.#isOver(requests));
    this.trace.note("all % requests have ended", [this.submitted]);
    requests.checkAll();
    await this.#until(this.#engine.close());
    this.#others?.check();
    const { machine } = this.#world;
    // Pages that the kernel keeps pinned for a moment after a completion are released by then.
    for (let i = 0; machine.clock.busy && i < 10_000; i++) machine.clock.step();
    if (machine.disk.pins > 0) violated("NO_IDLE_PIN", `${machine.disk.pins} pins are left after close()`);
    const { submitted, completed, failed } = this.#engine.stats();
    if (submitted !== completed + failed)
      violated("EXACTLY_ONCE", `${submitted} accepted, ${completed + failed} answered`);
  }

  #isOver({ submitted, inFlight }: Requests): boolean {
    return submitted >= this.#most && inFlight === 0 && this.#operating === 0 && (this.#others?.inProgress ?? 0) === 0;
  }

  async #open(): Promise<Requests> {
    const { machine, files } = this.#world;
    const modelFile = files.create("file");
    fillFile(machine, modelFile);
    const file = await this.#engine.openFile("file", "r+");
    this.#arena = await this.#engine.arena({ bytes: this.#swarm.arenaMiB << 20, inherit: this.#swarm.inherit });
    const { trace } = this;
    if (this.#swarm.mappedFile !== "none")
      this.#mapped = await MappedFile.open(
        { world: this.#world, swarm: this.#swarm, trace, source: file },
        this.#engine,
      );
    const requests = new Requests({
      swarm: this.#swarm,
      machine,
      oracle: this.#oracle,
      trace: this.trace,
      arena: this.#arena,
      file,
      modelFile,
      others: this.#others,
      lost: (buffer) => void this.#replace(buffer),
      progressed: () => {
        this.#progress();
        this.#touched();
      },
    });
    for (const buffer of requests.buffers.keys()) this.#others?.has(buffer, requests.firstPage(buffer));
    return requests;
  }

  /** Replaces a buffer that other code has unmapped. */
  async #replace(buffer: number): Promise<void> {
    const bytes = this.#swarm.requestPages * PAGE_BYTES;
    const requests = this.#requests!;
    this.#operating++;
    try {
      let by: Uint8Array;
      try {
        by = this.#arena.alloc(bytes);
      } catch (error) {
        if ((error as { code?: string }).code !== "ERR_PINLESS_ARENA_FULL") throw error;
        await this.#arena.grow(bytes);
        by = this.#arena.alloc(bytes);
      }
      requests.replace(buffer, by);
      this.#others?.has(buffer, requests.firstPage(buffer));
    } catch (error) {
      this.#error ??= error;
    } finally {
      this.#operating--;
    }
  }

  /**
   * Steps the machine until `isOver`. Requests use no promises, so promises get their turn only while one is awaited.
   */
  async #goOn(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      this.#requests?.fill(this.#most);
      this.#pace.rouse();
      // Calls that were made now reach the machine before its time advances.
      if (this.#monitorDied) this.#world.runMicrotasks();
      const stepped = this.#step();
      if (!stepped) await this.#patience();
      if (this.#operating > 0 || this.#awaiting || this.#monitorDied) {
        // Attempts to restart the monitor keep the clock going, so promises get their turn here too.
        for (let i = this.#monitorDied ? 20 : 3; i > 0; i--) await null;
        this.#world.runMicrotasks();
      }
    }
  }

  /** Takes one step of the machine, with the program's reactions; false if no event is left. */
  #step(): boolean {
    if (this.#error !== null) throw this.#error;
    const { clock } = this.#world.machine;
    const stepped = clock.step();
    const withoutMs = clock.nowMs - this.#progressAtMs;
    const stuck = withoutMs > STUCK_MS || ++this.#stepsWithout > STUCK_STEPS + STUCK_STEPS_A_MS * withoutMs;
    if (stuck) violated("BOUNDED_WAIT", "nothing ends any more");
    this.#world.runMicrotasks();
    return stepped;
  }

  /** Gives promises their turn, since the machine has no event left; fails if that doesn't help. */
  async #patience(): Promise<void> {
    for (let i = 0; i < 100; i++) {
      await null;
      this.#world.runMicrotasks();
      const waited = (this.#requests?.inFlight ?? 0) > 0 || this.#operating > 0 || this.#awaiting;
      if (this.#world.machine.clock.busy || !waited) return;
    }
    violated("BOUNDED_WAIT", "nothing is to come any more, but not everything has ended");
  }

  async #until<T>(promise: Promise<T>): Promise<T> {
    this.#awaiting = true;
    const done = (): void => {
      this.#awaiting = false;
    };
    promise.then(done, done);
    this.#progress();
    await this.#goOn(() => !this.#awaiting);
    return promise;
  }

  #progress(): void {
    this.#progressAtMs = this.nowMs;
    this.#stepsWithout = 0;
  }

  /** Checks a page that may have changed, and now and then all pages. */
  #touched(page?: number): void {
    if (page !== undefined) this.#requests?.check(page);
    if (--this.#lookAfter > 0) return;
    this.#lookAfter = LOOK_EVERY;
    this.#requests?.checkAll();
    this.#others?.check();
  }

  /** Starts the activities beside the requests, each with its own mean time between two events. */
  #daemons(requests: Requests): void {
    const { operationMs, mappedMs, busyMs, operationsPerRequest } = this.#swarm;
    const { machine } = this.#world;
    const busy = machine.random.stream("busy ms");
    this.#pace.storms("operation", operationMs, () => void this.#operate(requests), operationsPerRequest);
    startDaemons({
      swarm: this.#swarm,
      machine,
      oracle: this.#oracle,
      requests,
      trace: this.trace,
      pace: this.#pace,
      touched: (page) => this.#touched(page),
    });
    const mapped = this.#mapped;
    if (mapped !== null) {
      this.#pace.storms("mapped file", mappedMs, () => void this.#operateOn(mapped), operationsPerRequest);
      this.#pace.storms("mapped file's kernel", mappedMs, () => mapped.happen(), operationsPerRequest);
    }
    this.#pace.often("busy", busyMs, () => this.#world.busyFor(busy.below(busyMs)));
    if (this.#others !== null) this.#foreign(this.#others);
  }

  #foreign(others: OtherThreads): void {
    const { foreignDiscardMs, foreignUnmapMs, ownDiscardMs, monitorDiesMs, blindMs, operationsPerRequest } =
      this.#swarm;
    this.#pace.storms("foreign discard", foreignDiscardMs, () => others.discards(), operationsPerRequest);
    this.#pace.storms("foreign unmap", foreignUnmapMs, () => others.unmap(), operationsPerRequest);
    this.#pace.storms("own discard", ownDiscardMs, () => others.discardHere(), operationsPerRequest);
    const { threads } = this.#world;
    this.#pace.often("monitor is blind", blindMs, () => {
      threads.isBlind = !threads.isBlind;
    });
    if (monitorDiesMs === 0) return;
    const die = (): void => {
      this.trace.note("the monitor dies", []);
      this.trace.lanes?.instant("monitor", "dies");
      this.#monitorDied = true;
      others.stop();
      this.#world.killMonitor(() => {
        this.trace.note("another monitor follows", []);
        this.trace.lanes?.instant("monitor", "another monitor follows");
        others.resume();
        this.#world.machine.clock.after(monitorDiesMs, die);
      });
    };
    this.#world.machine.clock.after(monitorDiesMs, die);
  }

  async #operateOn(mapped: MappedFile): Promise<void> {
    if (this.#operating >= 4) return;
    this.#operating++;
    this.operations++;
    try {
      await mapped.act();
      this.#progress();
    } catch (error) {
      this.#error ??= error;
    } finally {
      this.#operating--;
    }
  }

  async #operate(requests: Requests): Promise<void> {
    // More concurrent operations find nothing new.
    if (this.#operating >= 4) return;
    this.#operating++;
    const number = this.operations++;
    this.#operations.add(number);
    const { random } = this.#world.machine;
    const name = random.pick("which operation", this.#swarm.nodes > 1 ? [...OPERATIONS, "migrate"] : OPERATIONS);
    const buffer = random.stream("operand").below(requests.buffers.length);
    this.trace.tell(`${name} of buffer %, page %`, [buffer, requests.firstPage(buffer)]);
    this.#showOperation(number, name, requests.firstPage(buffer));
    try {
      const report = await this.#perform(name, requests.buffers[buffer]!, requests.firstPage(buffer));
      this.#progress();
      this.#touched();
      this.trace.note(`${name} of buffer % ends: % pages, % done, % busy`, [
        buffer,
        report.pages,
        report.done,
        report.busy,
      ]);
      if (report.done + report.busy !== report.pages) violated("STATE", `${name} says ${JSON.stringify(report)}`);
    } catch (error) {
      this.#error ??= error;
    } finally {
      this.#operating--;
      this.#operations.delete(number);
      this.trace.lanes?.end("invalidations", number);
    }
  }

  #showOperation(number: number, name: string, page: number): void {
    const { lanes } = this.trace;
    const start = this.#world.machine.addressOf(page);
    const range = { start, end: start + this.#swarm.requestPages * PAGE_BYTES };
    lanes?.begin("invalidations", number, name, { page }, { range });
    lanes?.waitsFor("invalidations", number, "requests", "waits for I/O");
  }

  async #perform(name: string, view: Uint8Array, first: number): Promise<OperationReport> {
    const { random, frames } = this.#world.machine;
    if (name === "migrate") return this.#arena.migrate({ node: random.stream("to node").below(frames.nodes) }, view);
    if (name === "collapse") return this.#arena.collapse(view);
    if (name === "pageOut") return this.#arena.pageOut(view);
    const lazily = name === "lazily";
    const { requestPages } = this.#swarm;
    const begun = Array.from({ length: requestPages }, (_, i) => this.#oracle.discardBegins(first + i));
    const report = await this.#arena.discard(view, { lazily });
    for (const [i, since] of begun.entries())
      this.#oracle.discardEnds(first + i, lazily ? MMAN.MADV_FREE : MMAN.MADV_DONTNEED, since);
    return report;
  }
}
