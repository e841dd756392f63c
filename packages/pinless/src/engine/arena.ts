/** Memory that I/O goes to and from, and the operations on it. */

import type { CallsInFlight } from "../files/calls-in-flight.js";
import type { OperationReport } from "../ports/memory.js";
import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import { EFAULT } from "../protocol/errno.js";
import { argumentError, PinlessError, type PinlessErrorCode } from "../protocol/errors.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignOut, type Range } from "../protocol/ranges/ranges.js";
import { pagesOf, type Segment, wholePages } from "../protocol/segment.js";
import { ArenaBuffers } from "./arena-buffers.js";
import {
  ArenaGrowth,
  type ArenaOptions,
  assertGrowth,
  closedError,
  type GrowthHost,
  HUGE_PAGE_BYTES,
} from "./arena-growth.js";
import type { Backing } from "./file-backing.js";
import { type ChangesHost, MemoryOperations } from "./memory-operations.js";

/** The engine as an arena sees it. */
export interface ArenaHost extends ChangesHost, GrowthHost {
  readonly uses: CallsInFlight;
  unfollow(segment: Segment): Promise<void>;
  closed(arena: Arena): void;
}

export type { ArenaOptions };

/**
 * Memory for I/O and the operations on it. Operations wait for the I/O on their range that was handed over before; I/O
 * that is handed over meanwhile waits for them. Operations on the same chunk take turns, in the order of their calls.
 *
 * After `close()` calls throw, or reject with, `ERR_PINLESS_CLOSED`. A range that isn't a view of the arena's memory is
 * `ERR_PINLESS_RANGE`, one that was freed `ERR_PINLESS_NOT_ALLOCATED`, and a value that is no view
 * `ERR_INVALID_ARG_TYPE`.
 *
 * @example
 * ```ts
 * const arena = await engine.arena({ bytes: 64 << 20 });
 * const buffer = arena.alloc(1 << 20);
 * await file.read(buffer, { position: 0 });
 * console.log(await arena.discard(buffer)); // { event: "CLEAR", pages: 256, done: 256, busy: 0, waited: … }
 * await arena.close();
 * ```
 */
export class Arena {
  readonly #host: ArenaHost;
  /** Null: anonymous memory. */
  readonly #file: Backing | null;
  readonly #buffers = new ArenaBuffers();
  readonly #changes: MemoryOperations;
  readonly #growth: ArenaGrowth;
  #state: "open" | "closing" | "closed" = "open";
  #closing: Promise<void> | null = null;
  /** protect() was called, so that memory may be, or may be about to be, read-only. */
  #protects = false;

  /**
   * Not for callers: `engine.arena()` makes arenas.
   *
   * @hidden
   */
  constructor(host: ArenaHost, options: ArenaOptions, file: Backing | null) {
    this.#host = host;
    this.#file = file;
    this.#changes = new MemoryOperations(host, this.#buffers.segments, file?.device);
    this.#growth = new ArenaGrowth(host, options, file, (segment, prepared) => {
      this.#buffers.segments.push(segment);
      this.#changes.noteHuge(segment.range, prepared);
    });
  }

  /** Size of all its memory, in bytes. */
  get bytes(): number {
    return this.#growth.bytes;
  }

  /**
   * Allocates a buffer, aligned to a page (4 KiB), and within one chunk if it fits into one, so that it goes by one
   * lease.
   *
   * @param bytes - Size, a positive whole number
   * @returns The buffer: zeroed only the first time its memory is used; of a file, with the file's bytes
   * @throws `ERR_PINLESS_ARENA_FULL` where no free piece is large enough, `ERR_OUT_OF_RANGE` for other sizes
   */
  alloc(bytes: number): Uint8Array {
    this.#assertOpen();
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw argumentError("ERR_OUT_OF_RANGE", `bytes must be a positive integer. Received ${String(bytes)}`);
    return this.#buffers.allocate(bytes, this.bytes);
  }

  /**
   * Gives the bytes of a file-backed arena from a position on, whether allocated or not. There is nothing to free.
   *
   * @param position - Offset in the file, in bytes
   * @param bytes - Length of the view
   * @throws `ERR_OUT_OF_RANGE` where the arena has no such bytes in one piece (it's mapped in pieces of 4 GiB, and of
   *   what it grew by); `ERR_PINLESS_UNSUPPORTED` for anonymous memory, which has no positions
   */
  view(position: number, bytes: number): Uint8Array {
    this.#assertOpen();
    if (this.#file === null)
      throw new PinlessError(
        "ERR_PINLESS_UNSUPPORTED",
        "view() needs an arena of a file, and this one is anonymous memory: alloc() gives buffers of it",
      );
    return this.#buffers.view(position, bytes, this.bytes);
  }

  /**
   * Gives a buffer back once no I/O and no operation on it is left, those on the whole arena included. Parts of it that
   * are read-only become writable again.
   *
   * From the call on, I/O and operations on the buffer throw, or reject with, `ERR_PINLESS_NOT_ALLOCATED`. On views
   * made of it (`subarray`), which can't be told apart, they do so only until `alloc` gives their memory out again.
   *
   * @param buffer - A buffer that `alloc` gave
   * @throws `ERR_PINLESS_NOT_ALLOCATED` for anything else
   */
  async free(buffer: ArrayBufferView): Promise<void> {
    this.#assertOpen();
    const { segment, range, offset, bytes } = this.#buffers.retire(buffer);
    // Calls made before `free` are about the old contents: the next owner of the memory must not see their effects.
    await this.#quiet(range, true);
    if (this.#state !== "open") return;
    if (this.#protects) {
      try {
        await this.#changes.setAccess(segment, alignOut(range, PAGE_BYTES), false);
      } catch (error) {
        this.#buffers.restore(segment, buffer, offset, bytes);
        throw error;
      }
    }
    segment.free.release(offset, bytes);
  }

  /**
   * Adds memory. Buffers that were given out stay where they are. Of a file it's the part that comes next, and the file
   * grows if it must. Several calls at a time go one after the other.
   *
   * @param bytes - Bytes to add at least
   * @throws ENOMEM where there's no room, `ERR_OUT_OF_RANGE` for other than a positive whole number
   */
  async grow(bytes: number): Promise<void> {
    this.#assertOpen();
    assertGrowth(bytes);
    await this.#growth.grow(bytes);
  }

  /**
   * Throws the content of a range away: it reads as zeros, and its pages are free for others until they're used again.
   * Where the range ends inside a page, that page is kept and written with zeros.
   *
   * Of a file nothing is lost: the range's whole pages leave this process's memory, and the next access finds what was
   * stored last.
   *
   * @param range - A view of the arena. Default: everything
   * @param options - `lazily` (default false): the kernel takes the pages only when it needs memory; until then, or
   *   until they're written, the range may read as before (MADV_FREE)
   * @throws `ERR_PINLESS_READ_ONLY` where a page that is only partly in the range is read-only: nothing is thrown away
   *   then; `ERR_PINLESS_UNSUPPORTED` for `lazily` of a file
   */
  async discard(range?: ArrayBufferView, options: { lazily?: boolean } = {}): Promise<OperationReport> {
    this.#assertOpen();
    checkOptions("arena.discard", options, ["lazily"]);
    checkBoolean("lazily", options.lazily);
    const operation = options.lazily === true ? "discardLazily" : "discard";
    if (operation === "discardLazily")
      this.#refuseFile(
        "this arena maps a file, whose pages the kernel frees by itself: discard() unmaps them, " +
          "pageOut() reclaims them",
      );
    return this.#changes.operate("CLEAR", this.#buffers.partsOf(range), 1, (part, segment) =>
      this.#changes.discard(segment, part, operation, this.#file === null),
    );
  }

  /**
   * Makes huge pages of a range (whole huge pages around it). Pages that are missing (discarded, or in swap) are
   * brought back first. Pages that couldn't become one are `busy` in the report, and `reason` says why; so is a huge
   * page of which only a part is read-only.
   *
   * @param range - A view of the arena. Default: everything
   * @throws `ERR_PINLESS_NO_HUGE_PAGES` on a kernel that can't; `ERR_PINLESS_UNSUPPORTED` of a file, whose page sizes
   *   its filesystem decides
   */
  async collapse(range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    this.#refuseFile(
      "this arena maps a file, whose filesystem chooses the size of its pages: collapse() needs anonymous memory",
    );
    refuseIf("ERR_PINLESS_NO_HUGE_PAGES", this.#host.memory.explainNoCollapse());
    return this.#changes.operate("MIGRATE", this.#buffers.partsOf(range), HUGE_PAGE_BYTES, (part) =>
      this.#changes.run(part, "collapse"),
    );
  }

  /**
   * Sends a range out, to swap or (after a `writeback`, and rejecting as that does) to its file. The next use brings it
   * back. Pages that others have too (a child, with `inherit`; whoever has mapped the file) are `busy` in the report.
   *
   * @param range - A view of the arena. Default: everything
   * @throws `ERR_PINLESS_NO_SWAP` for anonymous memory where no swap is active
   */
  async pageOut(range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    if (this.#file !== null) {
      return this.#changes.operate("CLEAR", this.#buffers.partsOf(range), PAGE_BYTES, async (part) => {
        await this.#changes.writeBack(part, this.#file?.path);
        return this.#changes.run(part, "pageOut");
      });
    }
    const noSwap = "no swap is active (/proc/swaps), so anonymous memory can't be paged out: activate one with swapon";
    refuseIf("ERR_PINLESS_NO_SWAP", this.#host.memory.hasSwap() ? null : noSwap);
    return this.#changes.operate("CLEAR", this.#buffers.partsOf(range), PAGE_BYTES, (part) =>
      this.#changes.run(part, "pageOut"),
    );
  }

  /**
   * Moves a range (whole pages around it) to another NUMA node. Pages that are there now are `done`, as are those that
   * are nowhere: never used, discarded, or in swap. Pages that others hold or have too are `busy`. Later pages come
   * from wherever the kernel takes them, as before.
   *
   * @param options - `node`: number of the node, from 0 on
   * @param range - A view of the arena. Default: everything
   * @throws `ERR_PINLESS_NO_NODE`, which names the nodes that are there; `ERR_OUT_OF_RANGE` for a node that is no whole
   *   number; `ERR_PINLESS_UNSUPPORTED` where the kernel, or a container's filter, has no move_pages(2)
   */
  async migrate(options: { node: number }, range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    checkOptions("arena.migrate", options, ["node"]);
    const { node } = options;
    if (!Number.isSafeInteger(node) || node < 0)
      throw argumentError("ERR_OUT_OF_RANGE", `options.node must be a non-negative integer. Received ${String(node)}`);
    const { memory } = this.#host;
    refuseIf("ERR_PINLESS_UNSUPPORTED", memory.explainNoMigration());
    const nodes = memory.nodes();
    const none = `node ${node} has no memory that this process may use; nodes that have: ${nodes.join(", ")}`;
    refuseIf("ERR_PINLESS_NO_NODE", nodes.includes(node) ? null : none);
    return this.#changes.operate("MIGRATE", this.#buffers.partsOf(range), PAGE_BYTES, (part) =>
      this.#changes.run(part, "migrate", node),
    );
  }

  /**
   * Makes memory read-only, or writable again. Reads of files into read-only memory fail with EFAULT (where only a part
   * of it is, the bytes before that part may have changed); writes of files from it go on. A store by JavaScript ends
   * the process with SIGSEGV, as it would in C: nothing can catch it.
   *
   * @param access - `"read"` or `"readwrite"`
   * @param range - Whole pages (4 KiB), or a buffer as `alloc` gave it. Default: everything that the arena has now,
   *   also what `alloc` will give
   * @throws `ERR_PINLESS_RANGE` for parts of pages, which would protect their neighbours; `ERR_INVALID_ARG_VALUE` for
   *   another access; ENOMEM where the kernel has no mapping left (sysctl vm.max_map_count): a part of the range may be
   *   changed then
   */
  async protect(access: "read" | "readwrite", range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    if (access !== "read" && access !== "readwrite")
      throw argumentError(
        "ERR_INVALID_ARG_VALUE",
        `the access must be "read" or "readwrite". Received ${String(access)}`,
      );
    const parts = this.#buffers.partsOf(range).map(({ segment, part }) => ({ segment, part: wholePages(part, range) }));
    this.#protects = true;
    return this.#changes.protect(parts, access === "read");
  }

  /**
   * Runs a function with no I/O on the range in flight. I/O waits until what the function returns has settled. The
   * range is tracked in chunks (2 MiB, in large arenas up to 16, or `lease.chunk`), so I/O beside it can wait too.
   *
   * Inside the function, don't await I/O or another operation on the range, and don't free it or close the arena: each
   * would wait for the function itself, for ever.
   *
   * @param range - A view of the arena
   * @param fn - Gets the bytes of the range; may be async
   * @returns The report, with what `fn` came to as `result`
   * @throws What `fn` throws; `ERR_INVALID_ARG_TYPE` where it's no function
   * @example
   * ```ts
   * const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
   * const { result, waited } = await arena.exclusive(buffer, hash);
   * ```
   */
  async exclusive<T>(
    range: ArrayBufferView,
    fn: (bytes: Uint8Array) => T | PromiseLike<T>,
  ): Promise<OperationReport & { readonly result: T }> {
    this.#assertOpen();
    const parts = this.#buffers.partsOf(range);
    const { part } = parts[0]!;
    if (typeof fn !== "function")
      throw argumentError("ERR_INVALID_ARG_TYPE", `the second argument must be a function. Received ${typeof fn}`);
    const bytes = new Uint8Array(range.buffer, range.byteOffset, range.byteLength);
    const { result, waitedMs } = await this.#changes.during(parts, () =>
      this.#changes.invalidate(part, "EXCLUSIVE", async () => fn(bytes)),
    );
    const pages = pagesOf(part);
    return { event: "EXCLUSIVE", pages, done: pages, busy: 0, waited: waitedMs, result };
  }

  /**
   * Writes a range (whole pages around it) to the file behind it and on to its device, as msync(2). Bytes that reads
   * had brought by then, and that were stored, are there when it resolves. Reads into the range wait meanwhile, writes
   * from it go on. Anonymous memory has no file: there is nothing to do, and `skipped` says so.
   *
   * @param range - A view of the arena. Default: everything
   * @throws EIO, ENOSPC and the like where it couldn't be written: once, as fsync(2) does; nobody knows then how much
   *   of it was
   */
  async writeback(range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    if (this.#file !== null)
      return this.#changes.operate("PROTECTION_PAGE", this.#buffers.partsOf(range), PAGE_BYTES, (part) =>
        this.#changes.writeBack(part, this.#file?.path),
      );
    const pages = this.#buffers.partsOf(range).reduce((sum, { part }) => sum + pagesOf(part), 0);
    const skipped = "this arena is anonymous memory: there is no file to write to";
    return { event: "PROTECTION_PAGE", pages, done: 0, busy: 0, waited: 0, skipped };
  }

  #refuseFile(why: string): void {
    refuseIf("ERR_PINLESS_UNSUPPORTED", this.#file === null ? null : why);
  }

  /** Resolves once no call, request or operation on a range is left of those that were made until now. */
  async #quiet(range: Range, patient: boolean): Promise<void> {
    const { uses, protocol } = this.#host;
    await new Promise<void>((resolve) => uses.whenQuiet(range, patient, resolve));
    await new Promise<void>((resolve) => protocol.dispatcher.whenQuiet(range, resolve));
    await this.#changes.quiet(range);
  }

  /**
   * Waits for all I/O, then gives the memory back. Views read as zeros from then on and can be written, and I/O on them
   * fails with EFAULT. A file keeps what was stored; that's on its device when the kernel writes it, or after
   * `writeback()`. A second call gives the same promise.
   *
   * @throws The first error, where something couldn't be given back; the rest is given back all the same
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Closes everything, also after a failure, and rejects with the first one at the end. */
  async #close(): Promise<void> {
    this.#state = "closing";
    for (const segment of this.#buffers.segments) segment.closed = true;
    await this.#growth.close();
    const failed: unknown[] = [];
    const noted = (work: Promise<void>): Promise<void> => work.catch((error: unknown) => void failed.push(error));
    for (const segment of this.#buffers.segments) await noted(this.#giveBack(segment));
    if (this.#file !== null) await noted(this.#file.close());
    this.#state = "closed";
    this.#host.closed(this);
    if (failed.length > 0) throw failed[0];
  }

  async #giveBack(segment: Segment): Promise<void> {
    const { range } = segment;
    segment.closed = true;
    this.#host.uses.cancelStreamCalls(range, EFAULT);
    await this.#quiet(range, false);
    try {
      await this.#host.unfollow(segment);
      await this.#changes.invalidate(range, "UNMAP", () =>
        this.#changes.empty(range, this.#file !== null, this.#protects),
      );
    } finally {
      this.#host.abandon(segment);
    }
  }

  /** Closes the arena at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertOpen(): void {
    if (this.#state !== "open") throw closedError();
  }
}

/** Rejects what can't be done on this machine, before anything waits for it. */
function refuseIf(code: PinlessErrorCode, why: string | null): void {
  if (why !== null) throw new PinlessError(code, why);
}
