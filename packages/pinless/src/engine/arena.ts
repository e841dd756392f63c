/** Arena: memory for I/O, and the operations on it. */

import type { ArenaToken } from "../ports/channel.js";
import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import type { ArenaOptions } from "../ports/options.js";
import type { OperationReport } from "../ports/stats.js";
import { argumentError, PinlessError } from "../protocol/errors.js";
import { HUGE_PAGE_BYTES, PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignOut } from "../protocol/ranges/ranges.js";
import { pagesOf, wholePages } from "../protocol/segment.js";
import { ArenaBuffers } from "./arena-buffers.js";
import { ArenaGrowth, assertGrowth, closedError, type GrowthHost } from "./arena-growth.js";
import { ArenaSharing, type SharingHost } from "./arena-sharing.js";
import type { Backing } from "./file-backing.js";
import { nodeToMigrateTo, refuseIf } from "./machine-checks.js";
import { type ChangesHost, MemoryOperations } from "./memory-operations.js";
import { type ReleaseHost, SegmentRelease } from "./segment-release.js";

/**
 * The engine as an arena sees it.
 *
 * @internal
 */
export interface ArenaHost extends ChangesHost, GrowthHost, ReleaseHost, SharingHost {
  closed(arena: Arena): void;
}

/**
 * Memory for I/O, and the operations on it. An operation waits for the I/O on its range that was submitted before; I/O
 * that is submitted later waits for the operation. Operations on the same chunk run one after the other, in the order
 * of their calls.
 *
 * Errors are thrown, or reject the promise: `ERR_PINLESS_CLOSED` after `close()`, `ERR_PINLESS_RANGE` for a range that
 * isn't a view of the arena's memory, `ERR_PINLESS_NOT_ALLOCATED` for a freed one, and `ERR_INVALID_ARG_TYPE` for a
 * range that isn't a view at all.
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
  /** The file that is mapped; null for anonymous memory. */
  readonly #file: Backing | null;
  readonly #buffers = new ArenaBuffers();
  readonly #changes: MemoryOperations;
  readonly #growth: ArenaGrowth;
  readonly #release: SegmentRelease;
  /** Null unless the memory is a SharedArrayBuffer. */
  readonly #sharing: ArenaSharing | null;
  #state: "open" | "closing" | "closed" = "open";
  #closing: Promise<void> | null = null;
  /** True once protect() was called, so that memory may be read-only, now or soon. */
  #protects = false;

  /**
   * Not for callers: `engine.arena()` makes arenas.
   *
   * @internal
   */
  constructor(host: ArenaHost, options: ArenaOptions, file: Backing | null) {
    this.#host = host;
    this.#file = file;
    this.#changes = new MemoryOperations(host, this.#buffers.segments, file?.device);
    this.#release = new SegmentRelease(host, this.#changes);
    this.#growth = new ArenaGrowth(host, options, file, (segment, prepared) => {
      this.#buffers.segments.push(segment);
      this.#changes.noteHuge(segment.range, prepared);
    });
    this.#sharing = options.shared === true ? new ArenaSharing(host, this, this.#buffers.segments) : null;
  }

  /** Size of all its memory, in bytes. */
  get bytes(): number {
    return this.#growth.bytes;
  }

  /**
   * Allocates a buffer, aligned to a page (4 KiB). A buffer that fits into one chunk lies within one chunk, so that its
   * I/O needs only one lease.
   *
   * @param bytes - Size, a positive whole number
   * @returns The buffer. It's zeroed only if its memory is used for the first time; in an arena of a file it holds the
   *   file's bytes
   * @throws `ERR_PINLESS_ARENA_FULL` if no free piece is large enough, `ERR_OUT_OF_RANGE` for an invalid size
   */
  alloc(bytes: number): Uint8Array {
    this.#assertOpen();
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw argumentError("ERR_OUT_OF_RANGE", `bytes must be a positive integer. Received ${String(bytes)}`);
    return this.#buffers.allocate(bytes, this.bytes);
  }

  /**
   * Returns a view of a file-backed arena at a position, whether allocated or not. The view needn't be freed.
   *
   * @param position - Offset in the file, in bytes
   * @param bytes - Length of the view
   * @throws `ERR_OUT_OF_RANGE` if the bytes aren't all in one segment of the arena (a segment is at most 4 GiB, and
   *   `grow()` adds one); `ERR_PINLESS_UNSUPPORTED` for anonymous memory, which has no positions
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
   * Position of a view in the arena's memory, by which engines that have attached it name the same bytes.
   *
   * @param view - A view of the arena
   */
  positionOf(view: ArrayBufferView): number {
    return this.#buffers.positionOf(view);
  }

  /**
   * Shares the arena with another thread: `engine.attach(token)` there gives its engine the same memory, as it's now.
   * Operations of any thread, and memory calls of other code, then wait for the I/O of all of them. If that thread ends
   * without closing its engine, nothing waits for it any more, and what it had in flight may still be transferred, for
   * as long as the device takes.
   *
   * @returns A token for one engine, to be transferred: `worker.postMessage(token, [token])`
   * @throws `ERR_PINLESS_UNSUPPORTED` unless the arena was made with `shared: true`
   */
  share(): ArenaToken {
    this.#assertOpen();
    if (this.#sharing === null)
      throw new PinlessError(
        "ERR_PINLESS_UNSUPPORTED",
        "only shared memory reaches other threads: make the arena with engine.arena({ bytes, shared: true })",
      );
    return this.#sharing.token();
  }

  /**
   * Frees a buffer, once all I/O and all operations on it have ended, those on the whole arena included. Read-only
   * parts of it become writable again.
   *
   * From the call on, I/O and operations on the buffer fail with `ERR_PINLESS_NOT_ALLOCATED`. On views made of it
   * (`subarray`) they fail only until `alloc` reuses the memory: the arena can't tell such a view from one of the new
   * buffer.
   *
   * @param buffer - A buffer from `alloc`
   * @throws `ERR_PINLESS_NOT_ALLOCATED` for anything else
   */
  async free(buffer: ArrayBufferView): Promise<void> {
    this.#assertOpen();
    const { segment, range, offset, bytes } = this.#buffers.retire(buffer);
    // Calls made before `free` are about the old contents: the next owner of the memory must not see their effects.
    await this.#release.quiet(range, { streamCalls: true });
    if (this.#state !== "open") return;
    if (this.#protects) {
      try {
        await this.#changes.setAccess(segment, alignOut(range, PAGE_BYTES), "readwrite");
      } catch (error) {
        this.#buffers.restore(segment, buffer, offset, bytes);
        throw error;
      }
    }
    segment.free.release(offset, bytes);
  }

  /**
   * Adds memory. Existing buffers stay where they are. In an arena of a file it maps the next part of the file, which
   * is extended if necessary. Concurrent calls run one after the other.
   *
   * @param bytes - Minimum number of bytes to add
   * @throws ENOMEM if the memory doesn't fit, `ERR_OUT_OF_RANGE` unless `bytes` is a positive whole number
   */
  async grow(bytes: number): Promise<void> {
    this.#assertOpen();
    assertGrowth(bytes);
    await this.#growth.grow(bytes);
  }

  /**
   * Discards the contents of a range: its pages are freed, and it reads as zeros. A page that is only partly in the
   * range is kept, and its part is filled with zeros.
   *
   * In an arena of a file no data is lost: the range's whole pages are unmapped, and the next access reads them from
   * the file.
   *
   * @param range - A view of the arena. Default: everything
   * @param options - `lazily` (default false): the kernel frees the pages only when it needs memory. Until then the
   *   range may read as before, and a write keeps its page (MADV_FREE)
   * @throws `ERR_PINLESS_READ_ONLY` if a page that is only partly in the range is read-only; nothing is discarded then.
   *   `ERR_PINLESS_UNSUPPORTED` for `lazily` in an arena of a file
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
   * Collapses a range, rounded out to whole huge pages, into huge pages. Missing pages (discarded, or in swap) are
   * brought back first. Pages that couldn't be collapsed count as `busy` in the report, whose `reason` says why; a huge
   * page that is partly read-only is one of these.
   *
   * @param range - A view of the arena. Default: everything
   * @throws `ERR_PINLESS_NO_HUGE_PAGES` if the kernel can't collapse pages; `ERR_PINLESS_UNSUPPORTED` for an arena of a
   *   file, because its filesystem chooses the page size
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
   * Pages a range out: to swap, or to its file, after a `writeback` that can fail as that does. The next access brings
   * it back. Pages that another process maps too (a child, with `inherit`; a process that has mapped the file) count as
   * `busy` in the report.
   *
   * @param range - A view of the arena. Default: everything
   * @throws `ERR_PINLESS_NO_SWAP` for anonymous memory if no swap is active
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
   * Migrates a range, rounded out to whole pages, to another NUMA node. Pages that are on the node afterwards count as
   * `done`; so do pages without memory: never used, discarded, or in swap. Pages that are pinned, or shared with
   * another process, count as `busy`. Where later pages are allocated doesn't change.
   *
   * @param options - `node`: number of the node, from 0 on
   * @param range - A view of the arena. Default: everything
   * @throws `ERR_PINLESS_NO_NODE`, which names the existing nodes; `ERR_OUT_OF_RANGE` if the node isn't a whole number
   *   from 0 on; `ERR_PINLESS_UNSUPPORTED` if the kernel has no move_pages(2), or a container's filter forbids it
   */
  async migrate(options: { node: number }, range?: ArrayBufferView): Promise<OperationReport> {
    this.#assertOpen();
    const node = nodeToMigrateTo(options, this.#host.memory);
    return this.#changes.operate("MIGRATE", this.#buffers.partsOf(range), PAGE_BYTES, (part) =>
      this.#changes.run(part, "migrate", node),
    );
  }

  /**
   * Makes memory read-only, or writable again. Reads of a file into read-only memory fail with EFAULT; if only a part
   * of the buffer is read-only, the bytes before it may have changed. Writes of a file from it work. A store by
   * JavaScript kills the process with SIGSEGV, as it would in C, and can't be caught.
   *
   * @param access - `"read"` or `"readwrite"`
   * @param range - Whole pages (4 KiB), or a buffer as `alloc` returned it. Default: all memory that the arena has now,
   *   allocated or not
   * @throws `ERR_PINLESS_RANGE` for a part of a page, because the rest of the page would be protected too;
   *   `ERR_INVALID_ARG_VALUE` for another access; ENOMEM if the process can have no more mappings (sysctl
   *   vm.max_map_count): a part of the range may have changed then
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
    return this.#changes.protect(parts, access);
  }

  /**
   * Runs a function while no I/O on the range is in flight. I/O waits until the function has returned, or its promise
   * has settled. The engine tracks memory in chunks (2 MiB, in large arenas up to 16, or `lease.chunk`), so I/O near
   * the range can wait too.
   *
   * Inside the function, don't await I/O or another operation on the range, and don't free it or close the arena: that
   * would wait for the function itself, for ever.
   *
   * @param range - A view of the arena
   * @param fn - Gets the bytes of the range; may be async
   * @returns The report, with the value that `fn` returned, or resolved to, as `result`
   * @throws What `fn` throws; `ERR_INVALID_ARG_TYPE` if it isn't a function
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
   * Writes a range, rounded out to whole pages, to its file and the file's device, as msync(2). Once it resolves, all
   * bytes are on the device that reads or stores had put into the range before the call. Meanwhile reads into the range
   * wait, and writes from it go on. Anonymous memory has no file: then nothing is done, and the report's `skipped` says
   * so.
   *
   * @param range - A view of the arena. Default: everything
   * @throws EIO, ENOSPC and the like if the write failed. As with fsync(2), the error is reported once, and it's
   *   unknown how much was written
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

  /**
   * Waits for all I/O, then frees the memory. From then on views read as zeros and can be written, and I/O on them
   * fails with EFAULT. A file keeps what was stored in its mapping; the kernel writes that to the device later, unless
   * `writeback()` did before. A second call returns the same promise.
   *
   * @throws The first error, if a part of the memory couldn't be freed; the rest is freed all the same
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
    for (const segment of this.#buffers.segments)
      await noted(this.#release.giveBack(segment, this.#file !== null, this.#protects));
    if (this.#file !== null) await noted(this.#file.close());
    this.#sharing?.close();
    this.#state = "closed";
    this.#host.closed(this);
    if (failed.length > 0) throw failed[0];
  }

  /** Closes the arena at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertOpen(): void {
    if (this.#state !== "open") throw closedError();
  }
}
