/** One simulated run: the engine that ships, on the machine, under the load and the faults of its seed. The same seed is the same run. */

import { InvariantViolation, violated } from "../core/assert.js";
import type { OperationReport } from "../core/ports.js";
import type { PortableEngine } from "../engine.js";
import { PAGE_BYTES } from "../model/contents.js";
import type { ModelFile } from "../model/files.js";
import { BLOCK_CONTENT } from "../model/tables.js";
import { Oracle, type Since } from "./oracle.js";
import { type Swarm, swarmOf } from "./swarm.js";
import { Trace } from "./trace.js";
import { World } from "./world.js";

type Arena = Awaited<ReturnType<PortableEngine["arena"]>>;
type File = Awaited<ReturnType<PortableEngine["openFile"]>>;

const PAGES_PER_MIB = 256;
/** Of the file only the first half is read, so that what a read has to bring doesn't change. */
const READ_BLOCKS = 1024;
/** Far more than any request takes: whatever waits that long waits for ever. */
const STUCK_MS = 60_000;
const STUCK_STEPS = 20_000;
const EIO = -5;

export interface Failure {
  /** The name of the invariant, or of the error. */
  readonly what: string;
  readonly message: string;
  readonly atMs: number;
}

export interface RunReport {
  readonly seed: number;
  readonly requests: number;
  readonly operations: number;
  readonly virtualMs: number;
  /** Of everything that happened, in its order. */
  readonly trace: string;
  readonly failure: Failure | null;
}

export interface RunOptions {
  readonly seed: number;
  /** How many requests are submitted. */
  readonly requests: number;
  /** What is to be otherwise than the seed has it. */
  readonly changes?: Partial<Swarm>;
  /** Where what happens is written to, line by line. */
  readonly steps?: (line: string) => void;
}

export async function simulate(options: RunOptions): Promise<RunReport> {
  const run = new Run(options);
  let failure: Failure | null = null;
  try {
    await run.all();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const what = error instanceof InvariantViolation ? error.invariant : error.name;
    failure = { what, message: error.message, atMs: run.nowMs };
  }
  const { submitted, operations, nowMs } = run;
  const { seed } = options;
  return { seed, requests: submitted, operations, virtualMs: nowMs, trace: run.trace.digest, failure };
}

class Run {
  readonly trace: Trace;
  submitted = 0;
  operations = 0;
  readonly #swarm: Swarm;
  readonly #requests: number;
  readonly #world: World;
  readonly #oracle = new Oracle();
  readonly #engine: PortableEngine;
  #arena!: Arena;
  #file!: File;
  #modelFile!: ModelFile;
  #buffers: Uint8Array[] = [];
  /** Buffers that no request of ours uses. */
  readonly #idle: number[] = [];
  #inFlight = 0;
  #operating = 0;
  #nextContent = 1;
  #progressAtMs = 0;
  #stepsWithout = 0;
  #awaiting = false;
  #error: unknown = null;

  constructor({ seed, requests, changes, steps }: RunOptions) {
    this.trace = new Trace(steps);
    this.#swarm = { ...swarmOf(seed), ...changes };
    this.#requests = requests;
    const { timing, faults, arenaMiB, engine } = this.#swarm;
    const pages = (arenaMiB + 32) * PAGES_PER_MIB;
    this.#world = new World({
      seed,
      design: "gup",
      size: {
        frames: 2 * pages,
        pages: 2 * pages,
        swapSlots: pages,
        blocks: 4 * 4096,
        bufferSlots: 256,
        bufferPages: 512,
        requests: 16 * 128,
        requestPages: 8,
      },
      timing,
      faults,
      bytes: false,
      later: () => {},
      uncaught: (error) => {
        this.#error ??= error;
      },
    });
    this.#engine = this.#world.openEngine(engine);
  }

  get nowMs(): number {
    return this.#world.machine.clock.nowMs;
  }

  async all(): Promise<void> {
    await this.#until(this.#open());
    this.#daemons();
    const began = this.nowMs;
    while (this.submitted < this.#requests || this.#inFlight > 0 || this.#operating > 0) {
      this.#fill();
      await this.#step();
    }
    this.trace.note("load", [this.submitted, Math.round(1000 * (this.nowMs - began))]);
    this.#checkAll();
    await this.#until(this.#engine.close());
    const { machine } = this.#world;
    // What the kernel holds for a moment after a completion goes by itself.
    for (let i = 0; machine.pins > 0 && i < 10_000 && machine.clock.step(); i++);
    if (machine.pins > 0) violated("NO_IDLE_PIN", `${machine.pins} pins are left after close()`);
    const { submitted, completed, failed } = this.#engine.stats();
    if (submitted !== completed + failed)
      violated("EXACTLY_ONCE", `${submitted} accepted, ${completed + failed} answered`);
  }

  async #open(): Promise<void> {
    const { arenaMiB, requestPages } = this.#swarm;
    this.#modelFile = this.#world.files.create("file");
    this.#modelFile.grow(2 * READ_BLOCKS * PAGE_BYTES);
    for (let block = 0; block < READ_BLOCKS; block++)
      this.#world.machine.setBlock(this.#modelFile.firstBlock + block, BLOCK_CONTENT, -1 - block);
    this.#file = await this.#engine.openFile("file", "r+");
    this.#arena = await this.#engine.arena({ bytes: arenaMiB << 20 });
    const bytes = requestPages * PAGE_BYTES;
    // A few in every chunk, so that some are used again and again, and some once in a while.
    for (let i = 0; i < 64; i++) this.#buffers.push(this.#arena.alloc(bytes));
    this.#idle.push(...this.#buffers.keys());
  }

  /** One event of the machine, and all that the program does about it. */
  async #step(): Promise<void> {
    if (this.#error !== null) throw this.#error;
    const { clock } = this.#world.machine;
    if (!clock.step()) await this.#patience();
    const stuck = clock.nowMs - this.#progressAtMs > STUCK_MS || ++this.#stepsWithout > STUCK_STEPS;
    if (stuck) violated("BOUNDED_WAIT", "nothing ends any more");
    this.#world.runMicrotasks();
    // Promises have a say only where somebody waits for one.
    if (this.#operating > 0 || this.#awaiting) for (let i = 0; i < 3; i++) await null;
    this.#world.runMicrotasks();
  }

  /** Nothing of the machine's is to come: promises may still have something to say to each other. */
  async #patience(): Promise<void> {
    for (let i = 0; i < 100; i++) {
      await null;
      this.#world.runMicrotasks();
      if (this.#world.machine.clock.busy || (this.#inFlight === 0 && this.#operating === 0 && !this.#awaiting)) return;
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
    while (this.#awaiting) await this.#step();
    return promise;
  }

  #progress(): void {
    this.#progressAtMs = this.nowMs;
    this.#stepsWithout = 0;
  }

  #below(name: string, bound: number): number {
    return this.#world.machine.random.stream(name).below(bound);
  }

  #fill(): void {
    while (this.#inFlight < this.#swarm.inFlight && this.submitted < this.#requests && this.#idle.length > 0) {
      const at = this.#below("buffer", this.#idle.length);
      const buffer = this.#idle[at]!;
      const write = this.#world.machine.random.stream("write").chance(this.#swarm.writeShare);
      if (!(write ? this.#write(buffer) : this.#read(buffer))) return;
      this.#idle[at] = this.#idle.at(-1)!;
      this.#idle.pop();
      this.#inFlight++;
      this.submitted++;
    }
  }

  #firstPage(buffer: number): number {
    return this.#world.machine.pageAt(this.#world.machine.addressOfView(this.#buffers[buffer]!));
  }

  #read(buffer: number): boolean {
    const { requestPages } = this.#swarm;
    const block = this.#below("block", READ_BLOCKS - requestPages);
    const first = this.#firstPage(buffer);
    const begun: Since[] = [];
    const answer = this.#file.submit("read", this.#buffers[buffer]!, block * PAGE_BYTES, (errno, bytes) => {
      this.#ended(buffer, "read", errno, bytes);
      const pages = bytes / PAGE_BYTES;
      for (let i = 0; i < requestPages; i++) {
        // What a failed or short read left behind isn't known: the program stores something of its own.
        this.#oracle.readEnds(first + i, i < pages ? -1 - block - i : null, begun[i]!);
        if (i < pages) this.#check(first + i);
        else this.#store(first + i);
      }
    });
    if (answer === "busy") return false;
    for (let i = 0; i < requestPages; i++) begun.push(this.#oracle.readBegins(first + i));
    return true;
  }

  #write(buffer: number): boolean {
    const { requestPages } = this.#swarm;
    const first = this.#firstPage(buffer);
    // Every buffer has blocks of its own.
    const block = READ_BLOCKS + buffer * requestPages;
    const before: Since[] = [];
    const begun: (readonly number[])[] = [];
    for (let i = 0; i < requestPages; i++) {
      this.#store(first + i);
      before.push(this.#oracle.since(first + i));
      begun.push([...this.#oracle.contents(first + i)]);
    }
    const answer = this.#file.submit("write", this.#buffers[buffer]!, block * PAGE_BYTES, (errno, bytes) => {
      this.#ended(buffer, "write", errno, bytes);
      for (let i = 0; i < bytes / PAGE_BYTES; i++) {
        const overlapped = this.#oracle.since(first + i).discards !== before[i]!.discards;
        const right = overlapped ? [...begun[i]!, 0] : begun[i]!;
        const found = this.#world.machine.block(this.#modelFile.firstBlock + block + i, BLOCK_CONTENT);
        if (!right.includes(found)) violated("LINEAR", `block ${block + i} holds ${found} after a write of ${right}`);
      }
    });
    return answer !== "busy";
  }

  #store(page: number): void {
    const content = this.#nextContent++;
    if (this.#world.machine.store(page, content) === 0) this.#oracle.stored(page, content);
  }

  #ended(buffer: number, op: string, errno: number, bytes: number): void {
    this.#progress();
    this.trace.note(op, [buffer, errno, bytes, Math.round(1000 * this.nowMs)]);
    if (errno !== 0 && errno !== EIO) violated("EXACTLY_ONCE", `a ${op} ended with errno ${errno}`);
    this.#idle.push(buffer);
    this.#inFlight--;
  }

  #check(page: number): void {
    this.#oracle.check(page, this.#world.machine.peek(page));
  }

  #checkAll(): void {
    for (const page of this.#oracle.known) this.#check(page);
  }

  /** What goes on beside the requests, each with its own mean time between two. */
  #daemons(): void {
    const { operationMs, reclaimMs, compactionMs, busyMs } = this.#swarm;
    const { machine } = this.#world;
    const page = (name: string): number => this.#firstPage(this.#below(name, this.#buffers.length));
    this.#often("operation", operationMs, () => void this.#operate());
    this.#often("reclaim", reclaimMs, () => void machine.reclaim(page("reclaimed page")));
    this.#often("compaction", compactionMs, () => void machine.migrate(page("compacted page")));
    this.#often("busy", busyMs, () => this.#world.busyFor(this.#below("busy ms", busyMs)));
    this.#often("look at all pages", 5, () => this.#checkAll());
  }

  #often(name: string, meanMs: number, run: () => void): void {
    if (meanMs === 0) return;
    const { machine } = this.#world;
    const after = machine.random.stream(`${name} after`);
    const again = (): void => {
      if (this.submitted >= this.#requests) return;
      run();
      machine.clock.after(after.upTo(2 * meanMs), again);
    };
    again();
  }

  async #operate(): Promise<void> {
    // More than a few on one another say nothing new.
    if (this.#operating >= 4) return;
    this.#operating++;
    this.operations++;
    const name = this.#world.machine.random.pick("which operation", [
      "discard",
      "lazily",
      "collapse",
      "pageOut",
    ] as const);
    const view = this.#buffers[this.#below("operand", this.#buffers.length)]!;
    try {
      const report = await this.#perform(name, view);
      this.#progress();
      this.trace.note(name, [report.pages, report.done, report.busy, Math.round(1000 * this.nowMs)]);
      if (report.done + report.busy !== report.pages) violated("STATE", `${name} says ${JSON.stringify(report)}`);
    } catch (error) {
      this.#error ??= error;
    } finally {
      this.#operating--;
    }
  }

  async #perform(name: "discard" | "lazily" | "collapse" | "pageOut", view: Uint8Array): Promise<OperationReport> {
    if (name === "collapse") return this.#arena.collapse(view);
    if (name === "pageOut") return this.#arena.pageOut(view);
    const lazily = name === "lazily";
    const first = this.#world.machine.pageAt(this.#world.machine.addressOfView(view));
    const begun = Array.from({ length: this.#swarm.requestPages }, (_, i) => this.#oracle.discardBegins(first + i));
    const report = await this.#arena.discard(view, { lazily });
    for (const [i, since] of begun.entries()) this.#oracle.discardEnds(first + i, lazily, since);
    return report;
  }
}
