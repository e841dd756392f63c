/** Memory that I/O goes to and from, and the operations on it. */

import { ChunkTable } from "./core/chunk-table.js";
import type { Dispatcher } from "./core/dispatcher.js";
import { argumentError, type DescribeErrno, PinlessError, systemError } from "./core/errors.js";
import type { MmuEvent } from "./core/events.js";
import { FreeList } from "./core/free-list.js";
import type { MmuNotifier } from "./core/notifier.js";
import {
  ENOMEM,
  type Loop,
  type Mapping,
  type Memory,
  type MemoryOperation,
  type MemoryResult,
  type OperationReport,
} from "./core/ports.js";
import { alignOut, alignUp, contains, type Range } from "./core/ranges.js";
import type { Uses } from "./files/uses.js";
import { PLACE, placeIn, rangeIn, type Segment } from "./segment.js";

const PAGE_BYTES = 4096;
/** Segments begin and end on huge pages, whatever the chunk, so that a chunk can be (part of) one. */
const HUGE_PAGE_BYTES = 2 << 20;
/** WebAssembly's limit for one memory. */
const MAX_SEGMENT_BYTES = 4 * 2 ** 30;
/** WebAssembly memory starts on a page of its own, of 64 KiB. */
const WASM_PAGE_BYTES = 65536;

/** What an arena needs of its engine. */
export interface ArenaHost {
  readonly memory: Memory;
  readonly loop: Loop;
  readonly dispatcher: Dispatcher;
  readonly notifier: MmuNotifier;
  readonly uses: Uses;
  readonly chunkBytes: number;
  readonly describe: DescribeErrno;
  adopt(segment: Segment): void;
  abandon(segment: Segment): void;
  counted(event: MmuEvent, waitedMs: number): void;
  closed(arena: Arena): void;
}

export interface ArenaOptions {
  /** Rounded up to whole huge pages (2 MiB). */
  bytes: number;
  /** Ask for huge pages. Default true. */
  hugePages?: boolean;
  /** Let child processes inherit the memory, as they do with memory in general. Default false: fork is then as fast as without the arena. */
  inherit?: boolean;
}

export class Arena {
  readonly #host: ArenaHost;
  readonly #options: ArenaOptions;
  readonly #segments: Segment[] = [];
  #state: "open" | "closing" | "closed" = "open";

  /** Not for callers: `engine.arena()` makes arenas. */
  constructor(host: ArenaHost, options: ArenaOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** Bytes in all segments. */
  get bytes(): number {
    return this.#segments.reduce((sum, { range }) => sum + (range.end - range.start), 0);
  }

  /**
   * A buffer of the arena: zeroed only the first time its memory is used. Aligned to a page, and in one chunk if it fits into one,
   * so that it goes by one lease. Throws `ERR_PINLESS_ARENA_FULL`, `ERR_PINLESS_CLOSED`.
   */
  alloc(bytes: number): Uint8Array {
    this.#assertOpen();
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw argumentError("ERR_OUT_OF_RANGE", `a buffer of ${bytes} bytes can't be allocated`);
    const rounded = alignUp(bytes, PAGE_BYTES);
    for (const segment of this.#segments) {
      const offset = segment.free.allocate(rounded, PAGE_BYTES);
      if (offset < 0) continue;
      const address = segment.range.start + offset;
      const buffer = new Uint8Array(segment.buffer, address - segment.bufferAddress, bytes);
      return Object.defineProperty(buffer, PLACE, { value: placeIn(segment, buffer, address, bytes) });
    }
    throw new PinlessError(
      "ERR_PINLESS_ARENA_FULL",
      `no ${bytes} bytes in one piece are free in this arena of ${this.bytes}: free buffers, or grow() it`,
    );
  }

  /** Gives a buffer back once no I/O on it is left. Throws `ERR_PINLESS_NOT_ALLOCATED` for anything that `alloc` didn't give. */
  async free(buffer: ArrayBufferView): Promise<void> {
    this.#assertOpen();
    const range = this.#rangeOf(buffer);
    const segment = this.#segments.find((s) => contains(s.range, range))!;
    const offset = range.start - segment.range.start;
    const bytes = segment.free.allocatedAt(offset);
    if (bytes === undefined || alignUp(buffer.byteLength, PAGE_BYTES) !== bytes) {
      throw new PinlessError(
        "ERR_PINLESS_NOT_ALLOCATED",
        `the ${buffer.byteLength} bytes at ${offset} weren't allocated as one buffer, or were freed before`,
      );
    }
    segment.free.retire(offset);
    await this.#quiet(range, true);
    segment.free.release(offset, bytes);
  }

  /** Adds at least `bytes`; buffers that were given out stay where they are. */
  async grow(bytes: number): Promise<void> {
    this.#assertOpen();
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw argumentError("ERR_OUT_OF_RANGE", `an arena can't grow by ${bytes} bytes`);
    // All of it will be populated: more than there is would end some process, and most likely this one.
    if (bytes > this.#host.memory.availableBytes()) throw systemError(this.#host.describe, -ENOMEM, "mmap");
    const largest = MAX_SEGMENT_BYTES - HUGE_PAGE_BYTES;
    for (let left = alignUp(bytes, HUGE_PAGE_BYTES); left > 0; left -= largest)
      await this.#addSegment(Math.min(left, largest));
  }

  async #addSegment(bytes: number): Promise<void> {
    const { memory, chunkBytes } = this.#host;
    // Room to begin on a huge page; the rest of it is never touched.
    const mapping: Mapping = memory.map(bytes + HUGE_PAGE_BYTES - WASM_PAGE_BYTES);
    const start = alignUp(mapping.address, HUGE_PAGE_BYTES);
    const range = { start, end: start + bytes };
    const { inherit = false, hugePages = true } = this.#options;
    const prepared = await memory.run({ operation: "prepare", address: start, bytes, inherit, hugePages });
    if (prepared.errno !== 0 && prepared.done < prepared.pages)
      throw systemError(this.#host.describe, prepared.errno, "madvise");
    if (this.#state !== "open") throw closedError();
    const table = new ChunkTable(range, chunkBytes);
    const free = new FreeList(bytes, chunkBytes);
    const { notifier, dispatcher } = this.#host;
    const segment: Segment = {
      buffer: mapping.buffer,
      bufferAddress: mapping.address,
      range,
      table,
      free,
      gate: dispatcher.gate,
      notifier,
      index: -1,
      closed: false,
      registeredSlot: -1,
    };
    this.#host.adopt(segment);
    this.#segments.push(segment);
    this.#noteHuge(range, prepared);
  }

  /**
   * Throws the content away: the range reads as zeros. Its pages are free for others until they're used again; where the range ends
   * inside a page, that page is kept and written with zeros. `lazily`: the kernel takes the pages when it needs memory; until then, or
   * until they're written, the range may read as before (MADV_FREE).
   */
  async discard(range?: ArrayBufferView, options: { lazily?: boolean } = {}): Promise<OperationReport> {
    const operation = options.lazily === true ? "discardLazily" : "discard";
    if (range === undefined) return this.#operate("CLEAR", operation);
    const head = Math.min(range.byteLength, alignUp(range.byteOffset, PAGE_BYTES) - range.byteOffset);
    const tail = Math.min(range.byteLength - head, (range.byteOffset + range.byteLength) % PAGE_BYTES);
    const zero = (from: number, bytes: number): void => {
      new Uint8Array(range.buffer, range.byteOffset + from, bytes).fill(0);
    };
    return this.#operate("CLEAR", operation, range, (whole) => {
      zero(0, head);
      zero(range.byteLength - tail, tail);
      return { start: whole.start + head, end: whole.end - tail };
    });
  }

  /** Makes huge pages of the range (whole huge pages around it). What couldn't be is in the report's `busy`. */
  collapse(range?: ArrayBufferView): Promise<OperationReport> {
    return this.#operate("MIGRATE", "collapse", range, (part) => alignOut(part, HUGE_PAGE_BYTES));
  }

  /** Sends the range out to swap; the next use brings it back. Rejects with `ERR_PINLESS_NO_SWAP` where there is none. */
  pageOut(range?: ArrayBufferView): Promise<OperationReport> {
    if (!this.#host.memory.hasSwap()) {
      return Promise.reject(
        new PinlessError(
          "ERR_PINLESS_NO_SWAP",
          "no swap is active (/proc/swaps), so anonymous memory can't be paged out: swapon one",
        ),
      );
    }
    return this.#operate("CLEAR", "pageOut", range, (part) => alignOut(part, PAGE_BYTES));
  }

  /** Runs an operation inside an invalidation of each segment that it touches. `shape` gives the part that the kernel is asked about. */
  async #operate(
    event: MmuEvent,
    operation: MemoryOperation,
    view?: ArrayBufferView,
    shape: (part: Range) => Range = (part) => part,
  ): Promise<OperationReport> {
    this.#assertOpen();
    const parts = view === undefined ? this.#segments.map((s) => s.range) : [this.#rangeOf(view)];
    const total = { pages: 0, done: 0, busy: 0, waited: 0 };
    for (const part of parts) {
      const { result, waitedMs } = await this.#invalidate(
        alignOut(part, operation === "collapse" ? HUGE_PAGE_BYTES : 1),
        event,
        () => {
          const { start, end } = shape(part);
          return this.#host.memory.run({ operation, address: start, bytes: end - start });
        },
      );
      this.#noteHuge(part, result);
      total.pages += result.pages;
      total.done += result.done;
      total.busy += result.busy;
      total.waited = Math.max(total.waited, waitedMs);
    }
    return { event, ...total };
  }

  async #invalidate<T>(range: Range, event: MmuEvent, run: () => Promise<T>): Promise<{ result: T; waitedMs: number }> {
    const { notifier, loop } = this.#host;
    const began = loop.preciseMs();
    let ready = (): void => {};
    const begun = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const invalidation = notifier.invalidateRangeStart(range, event, { ready });
    this.#host.dispatcher.nudge();
    await begun;
    const waitedMs = loop.preciseMs() - began;
    try {
      return { result: await run(), waitedMs };
    } finally {
      notifier.invalidateRangeEnd(invalidation);
      this.#host.counted(event, waitedMs);
    }
  }

  /** Resolves when what was asked for on a range has been answered: calls, also those that wait for room, and requests. */
  async #quiet(range: Range, patient: boolean): Promise<void> {
    const { uses, dispatcher } = this.#host;
    await new Promise<void>((resolve) => uses.whenQuiet(range, patient, resolve));
    await new Promise<void>((resolve) => dispatcher.whenQuiet(range, resolve));
  }

  #noteHuge(range: Range, result: MemoryResult): void {
    this.#host.dispatcher.gate.notePages(range, (chunk) => result.huge.some((huge) => contains(huge, chunk)));
  }

  /** Waits for all I/O, then the memory is gone: views read as zeros, and I/O on them fails with EFAULT. */
  async close(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "closing";
    for (const segment of this.#segments) segment.closed = true;
    for (const segment of this.#segments) {
      const { range } = segment;
      await this.#quiet(range, false);
      await this.#invalidate(range, "UNMAP", () =>
        this.#host.memory.run({ operation: "discard", address: range.start, bytes: range.end - range.start }),
      );
      this.#host.abandon(segment);
    }
    this.#state = "closed";
    this.#host.closed(this);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #rangeOf(view: ArrayBufferView): Range {
    if (!ArrayBuffer.isView(view))
      throw argumentError("ERR_INVALID_ARG_TYPE", "the range must be a view of this arena's memory");
    const segment = this.#segments.find((s) => s.buffer === view.buffer);
    if (segment !== undefined) {
      const range = rangeIn(segment, view);
      if (contains(segment.range, range) && range.start < range.end) return range;
    }
    throw new PinlessError(
      "ERR_PINLESS_RANGE",
      `the view of ${view.byteLength} bytes isn't part of this arena, or is empty`,
    );
  }

  #assertOpen(): void {
    if (this.#state !== "open") throw closedError();
  }
}

function closedError(): PinlessError {
  return new PinlessError("ERR_PINLESS_CLOSED", "the arena was closed");
}
