/** Memory that I/O goes to and from, and the operations on it. */

import { argumentError, PinlessError, type PinlessErrorCode, systemError } from "../errors.js";
import type { Uses } from "../files/calls-in-flight.js";
import { checkBoolean, checkOptions } from "../option-checks.js";
import { EFAULT, type MemoryResult, type OperationReport } from "../ports.js";
import type { Protection } from "../protocol/notifier.js";
import { alignDown, alignOut, alignUp, contains, type Range } from "../protocol/ranges/ranges.js";
import {
  bytesAt,
  FREED,
  PAGE_BYTES,
  PLACE,
  type Place,
  pagesOf,
  placeIn,
  rangeIn,
  type Segment,
  wholePages,
} from "../protocol/segment.js";
import {
  type ArenaOptions,
  assertGrowth,
  closedError,
  Growth,
  type GrowthHost,
  HUGE_PAGE_BYTES,
} from "./arena-growth.js";
import type { Backing } from "./file-backing.js";
import { Changes, type ChangesHost } from "./memory-operations.js";

/** What an arena needs of its engine. */
export interface ArenaHost extends ChangesHost, GrowthHost {
  readonly uses: Uses;
  unfollow(segment: Segment): Promise<void>;
  closed(arena: Arena): void;
}

export type { ArenaOptions };

export class Arena {
  readonly #host: ArenaHost;
  /** Null: anonymous memory. */
  readonly #file: Backing | null;
  readonly #segments: Segment[] = [];
  readonly #changes: Changes;
  readonly #growth: Growth;
  #state: "open" | "closing" | "closed" = "open";
  #closing: Promise<void> | null = null;
  /** protect() was called, so that memory may be, or may be about to be, read-only. */
  #protects = false;

  /** Not for callers: `engine.arena()` makes arenas. */
  constructor(host: ArenaHost, options: ArenaOptions, file: Backing | null) {
    this.#host = host;
    this.#file = file;
    this.#changes = new Changes(host, this.#segments, file?.device);
    this.#growth = new Growth(host, options, file, (segment, prepared) => {
      this.#segments.push(segment);
      this.#changes.noteHuge(segment.range, prepared);
    });
  }

  /** Bytes in all segments. */
  get bytes(): number {
    return this.#growth.bytes;
  }

  /**
   * A buffer of the arena: zeroed only the first time its memory is used; of a file, what the file has there. Aligned to a page, and in one chunk if it fits into one,
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
      return this.#bufferAt(segment, segment.range.start + offset, bytes);
    }
    throw new PinlessError(
      "ERR_PINLESS_ARENA_FULL",
      `no ${bytes} bytes in one piece are free in this arena of ${this.bytes}: free buffers, or grow() it`,
    );
  }

  /**
   * What an arena of a file has from `position` (bytes) on, whether allocated or not: nothing to be freed. Throws `ERR_OUT_OF_RANGE` where
   * it has no such bytes in one piece (it's mapped in pieces of 4 GiB, and of what it grew by), and for anonymous memory, which has no
   * positions, `ERR_PINLESS_UNSUPPORTED`.
   */
  view(position: number, bytes: number): Uint8Array {
    this.#assertOpen();
    if (this.#file === null) throw new PinlessError("ERR_PINLESS_UNSUPPORTED", "anonymous memory has no positions");
    const meant = Number.isSafeInteger(position) && Number.isSafeInteger(bytes) && bytes > 0;
    let start = 0;
    for (const segment of this.#segments) {
      const { range } = segment;
      const end = start + range.end - range.start;
      if (meant && position >= start && position + bytes <= end)
        return this.#bufferAt(segment, range.start + position - start, bytes);
      start = end;
    }
    throw argumentError("ERR_OUT_OF_RANGE", `there are no ${bytes} bytes in one piece from ${position} on`);
  }

  #bufferAt(segment: Segment, address: number, bytes: number): Uint8Array {
    const buffer = new Uint8Array(segment.buffer, address - segment.bufferAddress, bytes);
    return Object.defineProperty(buffer, PLACE, { value: placeIn(segment, buffer, address, bytes) });
  }

  /**
   * Gives a buffer back once no I/O and no operation on it is left, those on the whole arena included; what of it is read-only can be
   * written again. Rejects with `ERR_PINLESS_NOT_ALLOCATED` for anything that `alloc` didn't give. From the call on, I/O and operations on
   * the buffer throw or reject with the same; on views made of it (`subarray`), which nothing can be told by, only until `alloc` gives their
   * memory out again.
   */
  async free(buffer: ArrayBufferView): Promise<void> {
    this.#assertOpen();
    const { segment, part: range } = this.#locate(buffer);
    const offset = range.start - segment.range.start;
    const bytes = segment.free.allocatedAt(offset);
    if (bytes === undefined || alignUp(buffer.byteLength, PAGE_BYTES) !== bytes) {
      throw new PinlessError(
        "ERR_PINLESS_NOT_ALLOCATED",
        `the ${buffer.byteLength} bytes at ${offset} weren't allocated as one buffer, or were freed before`,
      );
    }
    segment.free.retire(offset);
    const place = (buffer as { [PLACE]?: Place })[PLACE];
    if (place !== undefined) place.segment = FREED;
    await this.#quiet(range, true);
    // What was asked for while it was still the caller's is done to the caller's bytes, and not to those of whoever has it next.
    await this.#changes.quiet(range);
    if (this.#state !== "open") return;
    if (this.#protects) {
      try {
        await this.#setAccess(segment, alignOut(range, PAGE_BYTES), false);
      } catch (error) {
        segment.free.restore(offset, bytes);
        if (place !== undefined) place.segment = segment;
        throw error;
      }
    }
    segment.free.release(offset, bytes);
  }

  /**
   * Adds at least `bytes`; buffers that were given out stay where they are. Of a file: what comes next, and the file grows if it must.
   * Several at a time go one after the other.
   */
  async grow(bytes: number): Promise<void> {
    this.#assertOpen();
    assertGrowth(bytes);
    await this.#growth.grow(bytes);
  }

  /**
   * Throws the content away: the range reads as zeros. Its pages are free for others until they're used again; where the range ends
   * inside a page, that page is kept and written with zeros, which a page that protect() made read-only can't be: rejects with
   * `ERR_PINLESS_READ_ONLY`, and nothing is thrown away. `lazily`: the kernel takes the pages when it needs memory; until then, or until
   * they're written, the range may read as before (MADV_FREE).
   *
   * Of a file nothing is lost: the range's whole pages leave this process's memory, and the next access finds what the file has, which is
   * what was stored last. `lazily` is `ERR_PINLESS_UNSUPPORTED` there.
   */
  async discard(range?: ArrayBufferView, options: { lazily?: boolean } = {}): Promise<OperationReport> {
    this.#assertOpen();
    checkOptions("arena.discard", options, ["lazily"]);
    checkBoolean("lazily", options.lazily);
    const operation = options.lazily === true ? "discardLazily" : "discard";
    if (operation === "discardLazily")
      this.#refuseFile(
        "a file's pages aren't this process's to free: discard() lets go of them, pageOut() sends them out",
      );
    return this.#changes.operate("CLEAR", this.#partsOf(range), 1, (part, segment) => {
      const start = Math.min(part.end, alignUp(part.start, PAGE_BYTES));
      const end = Math.max(start, alignDown(part.end, PAGE_BYTES));
      if (this.#file !== null) return this.#changes.run({ start, end }, operation);
      const edges = [
        { start: part.start, end: start },
        { start: end, end: part.end },
      ];
      if (edges.some((edge) => segment.gate.readOnly.meets(edge))) {
        throw new PinlessError(
          "ERR_PINLESS_READ_ONLY",
          'the range begins or ends inside of a page that protect() made read-only: discard whole pages, or protect("readwrite") first',
        );
      }
      // A store into memory that other code has unmapped would end the process.
      for (const edge of edges) if (!segment.table.isGone(edge)) bytesAt(segment, edge).fill(0);
      return this.#changes.run({ start, end }, operation);
    });
  }

  /**
   * Makes huge pages of the range (whole huge pages around it). Pages that are missing (discarded, or in swap) are brought back first, so
   * all of the range is in memory then. What couldn't be is in the report's `busy`, and why is its `reason`; so is a huge page only a part
   * of which is read-only. Rejects with `ERR_PINLESS_NO_HUGE_PAGES` on a kernel that can't; of a file, whose page sizes are its filesystem's
   * business, with `ERR_PINLESS_UNSUPPORTED`.
   */
  async collapse(range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    this.#refuseFile(
      "the filesystem decides how large a file's pages are in memory: they can't be collapsed from here",
    );
    refuseIf("ERR_PINLESS_NO_HUGE_PAGES", this.#host.memory.explainNoCollapse());
    return this.#changes.operate("MIGRATE", this.#partsOf(range), HUGE_PAGE_BYTES, (part) =>
      this.#changes.run(part, "collapse"),
    );
  }

  /**
   * Sends the range out, to swap, or to its file (with `writeback` first: rejects as that does); the next use brings it back. Anonymous
   * memory without swap is `ERR_PINLESS_NO_SWAP`. `busy` are also pages that somebody else has: a child, with `inherit`, or of a file
   * whoever has mapped it.
   */
  async pageOut(range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    if (this.#file !== null) {
      return this.#changes.operate("CLEAR", this.#partsOf(range), PAGE_BYTES, async (part) => {
        await this.#write(part);
        return this.#changes.run(part, "pageOut");
      });
    }
    const noSwap = "no swap is active (/proc/swaps), so anonymous memory can't be paged out: swapon one";
    refuseIf("ERR_PINLESS_NO_SWAP", this.#host.memory.hasSwap() ? null : noSwap);
    return this.#changes.operate("CLEAR", this.#partsOf(range), PAGE_BYTES, (part) =>
      this.#changes.run(part, "pageOut"),
    );
  }

  /**
   * Moves the range (whole pages around it) to another NUMA node. Done are the pages that are there now, and those that are nowhere: never
   * used, discarded, or in swap. Busy are those that somebody else holds or has too (a child, with `inherit`). Later pages come from
   * wherever the kernel takes them, as before. Rejects with `ERR_PINLESS_NO_NODE`, which names the nodes that are there, and with
   * `ERR_PINLESS_UNSUPPORTED` where the kernel or a container's filter has no move_pages(2).
   */
  async migrate(options: { node: number }, range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    checkOptions("arena.migrate", options, ["node"]);
    const { node } = options;
    if (!Number.isSafeInteger(node) || node < 0)
      throw argumentError("ERR_OUT_OF_RANGE", `the node must be a whole number from 0 on. Received ${String(node)}`);
    const { memory } = this.#host;
    refuseIf("ERR_PINLESS_UNSUPPORTED", memory.explainNoMigration());
    const nodes = memory.nodes();
    const none = `node ${node} has no memory, or none that this process may use; nodes that have: ${nodes.join(", ")}`;
    refuseIf("ERR_PINLESS_NO_NODE", nodes.includes(node) ? null : none);
    return this.#changes.operate("MIGRATE", this.#partsOf(range), PAGE_BYTES, (part) =>
      this.#changes.run(part, "migrate", node),
    );
  }

  /**
   * Makes memory read-only, or writable again. Reads of files into read-only memory fail with EFAULT (where only a part of it is, the bytes
   * before that part may have changed); writes of files from it go on. A store by JavaScript ends the process with SIGSEGV, as it would in
   * C: nothing can catch it. The range is of whole pages (4 KiB), or a buffer as `alloc` gave it, whose last page is nobody else's; others
   * are `ERR_PINLESS_RANGE`, since they would protect their neighbours. Without a range: everything that the arena has now, also what
   * `alloc` will give. Where read-only memory borders on other memory the kernel needs a mapping more (sysctl vm.max_map_count): rejects
   * with ENOMEM where it has none, and then a part of the range may be changed.
   */
  async protect(access: "read" | "readwrite", range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    if (access !== "read" && access !== "readwrite")
      throw argumentError(
        "ERR_INVALID_ARG_VALUE",
        `the access must be "read" or "readwrite". Received ${String(access)}`,
      );
    const parts = this.#partsOf(range).map(({ segment, part }) => ({ segment, part: wholePages(part, range) }));
    this.#protects = true;
    return this.#changes.during(parts, async () => {
      const total = { event: "PROTECTION_VMA" as const, pages: 0, done: 0, busy: 0, waited: 0 };
      for (const { segment, part } of parts) {
        const waitedMs = await this.#setAccess(segment, part, access === "read");
        const pages = (part.end - part.start) / PAGE_BYTES;
        total.pages += pages;
        total.done += pages;
        total.waited = Math.max(total.waited, waitedMs);
      }
      return total;
    });
  }

  /** Resolves to the milliseconds that it waited for I/O. */
  async #setAccess(segment: Segment, part: Range, readOnly: boolean): Promise<number> {
    const changed: Protection[] = [];
    const change = async (): Promise<void> => {
      // A piece at a time that is all alike, and so one mapping: what the kernel refuses has changed nothing.
      const known = segment.gate.readOnly;
      for (const range of readOnly ? known.outside(part) : known.within(part)) {
        const { errno } = await this.#changes.run(range, readOnly ? "makeReadOnly" : "makeWritable");
        if (errno !== 0) throw systemError(this.#host.describe, errno, "mprotect");
        changed.push({ range, readOnly });
      }
    };
    return (await this.#changes.invalidate(part, "PROTECTION_VMA", change, changed)).waitedMs;
  }

  /**
   * Has `fn` use the range with no I/O on it in flight: `bytes` is a view of it, and I/O waits until what `fn` returns has settled. The
   * report's `result` is what that came to; what it throws rejects. It's tracked in chunks (2 MiB, in large arenas up to 16, or `lease.chunk`), so I/O beside the
   * range can wait too. Inside `fn`, awaiting I/O or another operation on the range waits for itself, for ever; so do freeing and closing.
   */
  async exclusive<T>(
    range: ArrayBufferView,
    fn: (bytes: Uint8Array) => T | PromiseLike<T>,
  ): Promise<OperationReport & { readonly result: T }> {
    this.#assertOpen();
    const parts = this.#partsOf(range);
    const { part } = parts[0]!;
    if (typeof fn !== "function") throw argumentError("ERR_INVALID_ARG_TYPE", "the second argument must be a function");
    const bytes = new Uint8Array(range.buffer, range.byteOffset, range.byteLength);
    const { result, waitedMs } = await this.#changes.during(parts, () =>
      this.#changes.invalidate(part, "EXCLUSIVE", async () => fn(bytes)),
    );
    const pages = pagesOf(part);
    return { event: "EXCLUSIVE", pages, done: pages, busy: 0, waited: waitedMs, result };
  }

  /**
   * Writes the range (whole pages around it) to the file behind it, and on to its device: msync(2). What reads into it had brought by then,
   * and what was stored, is there when it resolves. Reads of the range wait meanwhile, writes from it go on. Rejects with EIO, ENOSPC and
   * the like where it couldn't be written: once, as fsync(2) does, and then nobody knows how much of it was. Anonymous memory has no file:
   * nothing to do, and `skipped` says so.
   */
  async writeback(range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    if (this.#file !== null)
      return this.#changes.operate("PROTECTION_PAGE", this.#partsOf(range), PAGE_BYTES, (part) => this.#write(part));
    const pages = this.#partsOf(range).reduce((sum, { part }) => sum + pagesOf(part), 0);
    const skipped = "anonymous memory has no file to be written to";
    return { event: "PROTECTION_PAGE", pages, done: 0, busy: 0, waited: 0, skipped };
  }

  async #write(part: Range): Promise<MemoryResult> {
    const written = await this.#changes.run(part, "writeback");
    if (written.errno !== 0) throw systemError(this.#host.describe, written.errno, "msync", this.#file?.path);
    return written;
  }

  #refuseFile(why: string): void {
    refuseIf("ERR_PINLESS_UNSUPPORTED", this.#file === null ? null : why);
  }

  /** Resolves when what was asked for on a range has been answered: calls, also those that wait for room, and requests. */
  async #quiet(range: Range, patient: boolean): Promise<void> {
    const { uses, dispatcher } = this.#host;
    await new Promise<void>((resolve) => uses.whenQuiet(range, patient, resolve));
    await new Promise<void>((resolve) => dispatcher.whenQuiet(range, resolve));
  }

  /**
   * Waits for all I/O, then the memory is gone: views read as zeros, can be written, and I/O on them fails with EFAULT. A file keeps what
   * was stored; on its device that is when the kernel writes it, or after `writeback()`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Goes on to the end, and says then what failed first. */
  async #close(): Promise<void> {
    this.#state = "closing";
    for (const segment of this.#segments) segment.closed = true;
    await this.#growth.close();
    const failed: unknown[] = [];
    const noted = (work: Promise<void>): Promise<void> => work.catch((error: unknown) => void failed.push(error));
    for (const segment of this.#segments) await noted(this.#giveBack(segment));
    if (this.#file !== null) await noted(this.#file.close());
    this.#state = "closed";
    this.#host.closed(this);
    if (failed.length > 0) throw failed[0];
  }

  async #giveBack(segment: Segment): Promise<void> {
    const { range } = segment;
    segment.closed = true;
    this.#host.uses.endEndless(range, EFAULT);
    await this.#quiet(range, false);
    await this.#changes.quiet(range);
    try {
      await this.#host.unfollow(segment);
      await this.#changes.invalidate(range, "UNMAP", () => this.#empty(range));
    } finally {
      this.#host.abandon(segment);
    }
  }

  /** A stale view never ends the process, and finds zeros. */
  async #empty(range: Range): Promise<void> {
    if (this.#file === null) {
      // What was protected before has had its turn, and all becomes one mapping again, which the kernel has nothing to refuse for.
      if (this.#protects) await this.#changes.run(range, "makeWritable");
      if ((await this.#changes.run(range, "discard")).busy === 0) return;
    }
    const { errno } = await this.#changes.run(range, "mapZeros");
    if (errno !== 0) throw systemError(this.#host.describe, errno, "mmap");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The part of each segment that is meant: the view, or everything. */
  #partsOf(view: ArrayBufferView | undefined): { segment: Segment; part: Range }[] {
    if (view === undefined) return this.#segments.map((segment) => ({ segment, part: segment.range }));
    const found = this.#locate(view);
    const { segment, part } = found;
    const { start } = segment.range;
    const place = (view as { [PLACE]?: Place })[PLACE];
    if (place?.segment === FREED || segment.free.hasRetired({ start: part.start - start, end: part.end - start }))
      throw new PinlessError("ERR_PINLESS_NOT_ALLOCATED", "a buffer of the range was freed, or is being freed");
    return [found];
  }

  #locate(view: ArrayBufferView): { segment: Segment; part: Range } {
    if (!ArrayBuffer.isView(view))
      throw argumentError("ERR_INVALID_ARG_TYPE", "the range must be a view of this arena's memory");
    const segment = this.#segments.find((s) => s.buffer === view.buffer);
    if (segment !== undefined) {
      const part = rangeIn(segment, view);
      if (contains(segment.range, part) && part.start < part.end) return { segment, part };
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

/** Rejects what can't be done on this machine, before anything waits for it. */
function refuseIf(code: PinlessErrorCode, why: string | null): void {
  if (why !== null) throw new PinlessError(code, why);
}
