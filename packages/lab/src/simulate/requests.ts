/**
 * The program's requests: its buffers, its random reads and writes, and the check of their results. A buffer has one
 * request at a time.
 */

import { type Done, PAGE_BYTES, type PortableEngine, violated } from "pinless/portable";
import { FAILURES } from "../model/faults.js";
import type { ModelFile } from "../model/files.js";
import type { Machine } from "../model/machine.js";
import { BLOCK_CONTENT } from "../model/tables.js";
import type { Oracle } from "./oracle.js";
import type { OtherThreads } from "./other-threads.js";
import type { Swarm } from "./swarm.js";
import type { Trace } from "./trace.js";

export type SimulatedArena = Awaited<ReturnType<PortableEngine["arena"]>>;
export type SimulatedFile = Awaited<ReturnType<PortableEngine["openFile"]>>;

/** Number of buffers: a few in every chunk, so that some chunks are used often and some rarely. */
const BUFFERS = 64;
/** Number of blocks that are read: the file's first half, which is never written, so that its contents are known. */
export const READ_BLOCKS = 1024;

/** Parts of a run that its requests use. */
export interface RequestParts {
  readonly swarm: Swarm;
  readonly machine: Machine;
  readonly oracle: Oracle;
  readonly trace: Trace;
  readonly arena: SimulatedArena;
  readonly file: SimulatedFile;
  readonly modelFile: ModelFile;
  /** Other code's threads; null if there are none. */
  readonly others: OtherThreads | null;
  /** Called if a buffer was unmapped by other code and has to be replaced. */
  readonly lost: (buffer: number) => void;
  /** Called when a request has ended. */
  readonly progressed: () => void;
}

/** Fills the first half of a file, which is read: block b holds -1 - b. */
export function fillFile(machine: Machine, file: ModelFile): void {
  file.grow(2 * READ_BLOCKS * PAGE_BYTES);
  for (let block = 0; block < READ_BLOCKS; block++)
    machine.cache.setBlock(file.firstBlock + block, BLOCK_CONTENT, -1 - block);
}

export class Requests {
  readonly buffers: Uint8Array[];
  submitted = 0;
  inFlight = 0;
  readonly #parts: RequestParts;
  /** Pages of a buffer, which is also the size of a request. */
  readonly #pages: number;
  readonly #firstPages: number[];
  /** Buffers without a request. */
  readonly #idle: number[] = [];
  /** By buffer: the callback of its request, and the file block where the request begins. */
  readonly #readDone: readonly Done[];
  readonly #writeDone: readonly Done[];
  readonly #block: Int32Array;
  /**
   * By page of each buffer, as of the begin of its request: the oracle's count of discards, and the right content.
   */
  readonly #discards: Int32Array;
  readonly #content: Int32Array;
  readonly #orZero: Uint8Array;
  readonly #draw;
  #nextContent = 1;

  constructor(parts: RequestParts) {
    const { swarm, machine, arena } = parts;
    this.#parts = parts;
    this.#pages = swarm.requestPages;
    this.buffers = Array.from({ length: BUFFERS }, () => arena.alloc(this.#pages * PAGE_BYTES));
    this.#firstPages = this.buffers.map((view) => machine.pageAt(machine.addressOfView(view)));
    this.#idle.push(...this.buffers.keys());
    this.#readDone = this.#idle.map((buffer) => (errno, bytes) => this.#hasRead(buffer, errno, bytes));
    this.#writeDone = this.#idle.map((buffer) => (errno, bytes) => this.#hasWritten(buffer, errno, bytes));
    this.#block = new Int32Array(BUFFERS);
    this.#discards = new Int32Array(BUFFERS * this.#pages);
    this.#content = new Int32Array(BUFFERS * this.#pages);
    this.#orZero = new Uint8Array(BUFFERS * this.#pages);
    const stream = (name: string) => machine.random.stream(name);
    this.#draw = { buffer: stream("buffer"), write: stream("write"), block: stream("block") };
  }

  firstPage(buffer: number): number {
    return this.#firstPages[buffer]!;
  }

  /** Replaces a buffer that was unmapped by other code. */
  replace(buffer: number, by: Uint8Array): void {
    const { machine } = this.#parts;
    this.buffers[buffer] = by;
    this.#firstPages[buffer] = machine.pageAt(machine.addressOfView(by));
    this.#idle.push(buffer);
  }

  /** Submits requests until enough are in flight, or `most` have been submitted in total. */
  fill(most: number): void {
    const { inFlight, writeShare } = this.#parts.swarm;
    while (this.inFlight < inFlight && this.submitted < most && this.#idle.length > 0) {
      const at = this.#draw.buffer.below(this.#idle.length);
      const buffer = this.#idle[at]!;
      const queued = this.#draw.write.chance(writeShare) ? this.#write(buffer) : this.#read(buffer);
      if (!queued) return;
      this.#idle[at] = this.#idle.at(-1)!;
      this.#idle.pop();
      this.inFlight++;
      this.submitted++;
    }
  }

  #read(buffer: number): boolean {
    const { file, oracle } = this.#parts;
    const block = this.#draw.block.below(READ_BLOCKS - this.#pages);
    const answer = file.submit("read", this.buffers[buffer]!, block * PAGE_BYTES, this.#readDone[buffer]!);
    if (answer === "busy") return false;
    this.#parts.others?.begins(buffer);
    this.#block[buffer] = block;
    const first = this.firstPage(buffer);
    this.#begun("read", buffer, block);
    for (let i = 0; i < this.#pages; i++) this.#discards[buffer * this.#pages + i] = oracle.readBegins(first + i);
    return true;
  }

  #hasRead(buffer: number, errno: number, bytes: number): void {
    if (!this.#ended(buffer, "read by buffer % ends: errno %, % bytes", errno, bytes)) return;
    const { oracle } = this.#parts;
    const first = this.firstPage(buffer);
    for (let i = 0; i < this.#pages; i++) {
      if (i < bytes / PAGE_BYTES) {
        oracle.readEnds(first + i, -1 - this.#block[buffer]! - i, this.#discards[buffer * this.#pages + i]!);
        this.check(first + i);
      } else {
        // The content after a failed or short read is unknown, so the program stores a new one.
        oracle.readFails(first + i);
        this.#store(first + i);
      }
    }
  }

  #write(buffer: number): boolean {
    const { file, oracle, others } = this.#parts;
    const first = this.firstPage(buffer);
    const ours = others === null || others.isOurs(buffer);
    // Each buffer is written to blocks of its own.
    const block = READ_BLOCKS + buffer * this.#pages;
    this.#block[buffer] = block;
    for (let i = 0; i < this.#pages; i++) {
      const at = buffer * this.#pages + i;
      if (ours) this.#store(first + i);
      this.#discards[at] = oracle.discards(first + i);
      this.#content[at] = oracle.content(first + i);
      this.#orZero[at] = oracle.orZero(first + i) ? 1 : 0;
    }
    const answer = file.submit("write", this.buffers[buffer]!, block * PAGE_BYTES, this.#writeDone[buffer]!);
    if (answer === "busy") return false;
    others?.begins(buffer);
    this.#begun("write", buffer, block);
    return true;
  }

  #hasWritten(buffer: number, errno: number, bytes: number): void {
    if (!this.#ended(buffer, "write by buffer % ends: errno %, % bytes", errno, bytes)) return;
    const { oracle, machine, modelFile } = this.#parts;
    const first = this.firstPage(buffer);
    for (let i = 0; i < bytes / PAGE_BYTES; i++) {
      const at = buffer * this.#pages + i;
      const block = this.#block[buffer]! + i;
      const content = this.#content[at]!;
      const orZero = this.#orZero[at] === 1 || oracle.discards(first + i) !== this.#discards[at];
      const found = machine.cache.block(modelFile.firstBlock + block, BLOCK_CONTENT);
      if (found !== content && !(orZero && found === 0) && oracle.knows(first + i))
        violated("LINEAR", `block ${block} holds ${found} after a write of ${content}${orZero ? " or 0" : ""}`);
    }
  }

  #store(page: number): void {
    const { machine, oracle } = this.#parts;
    const content = this.#nextContent++;
    if (machine.memory.store(page, content) === 0) oracle.stored(page, content);
  }

  #begun(what: "read" | "write", buffer: number, block: number): void {
    const { trace, machine } = this.#parts;
    const page = this.firstPage(buffer);
    trace.tell(`${what} by buffer %, page %, of block %`, [buffer, page, block]);
    const start = machine.addressOf(page);
    const range = { start, end: start + this.#pages * PAGE_BYTES };
    trace.lanes?.begin("requests", buffer, what, { buffer, page, block }, { range });
  }

  /** Notes the end of a request. Returns false if other code has unmapped its memory. */
  #ended(buffer: number, what: string, errno: number, bytes: number): boolean {
    const { trace, progressed, others } = this.#parts;
    progressed();
    trace.note(what, [buffer, errno, bytes]);
    trace.lanes?.end("requests", buffer, { errno, bytes });
    this.inFlight--;
    if (others !== null && !others.ends(buffer, errno)) {
      if (others.isOfUse(buffer)) this.#idle.push(buffer);
      else this.#parts.lost(buffer);
      return false;
    }
    if (errno !== 0 && !FAILURES.includes(-errno))
      violated("EXACTLY_ONCE", `by buffer ${buffer} I/O ended with errno ${errno}`);
    this.#idle.push(buffer);
    return true;
  }

  check(page: number): void {
    this.#parts.oracle.check(page, this.#parts.machine.memory.peek(page));
  }

  checkAll(): void {
    for (const first of this.#firstPages) for (let page = first; page < first + this.#pages; page++) this.check(page);
  }
}
