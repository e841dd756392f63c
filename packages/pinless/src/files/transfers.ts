/**
 * Transfers that can't go directly between arena memory and the device. Unaligned ones go through the page cache, on
 * the second descriptor. Memory that isn't an arena's, or isn't aligned, is copied through staging memory.
 */

import type { OpenedFile } from "../ports/opened-file.js";
import { NEVER_WAITS, type Owner } from "../protocol/acceptance.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { EBADF, ECANCELED, EFAULT } from "../protocol/errno.js";
import { PinlessError, type SystemError } from "../protocol/errors.js";
import { PRIORITY, RWF } from "../protocol/how.js";
import { alignUp, contains } from "../protocol/ranges/ranges.js";
import { rangeIn, segmentOf } from "../protocol/segment.js";
import { assertUnit, notAtomic } from "./atomic-writes.js";
import { CachedReads } from "./cached-reads.js";
import type { TransferHost } from "./file-host.js";
import type { IoPaths } from "./io-paths.js";
import { IssuedRequests } from "./issued-requests.js";
import { isGone, isReadOnly, isRefused, MemoryCopies } from "./memory-copies.js";
import type { MountOptions } from "./mount-options.js";
import { NodeCalls } from "./node-calls.js";
import type { Position } from "./position-arguments.js";
import { readPieces } from "./read-pieces.js";
import { PIECE_BYTES } from "./staging-memory.js";
import type { CancellableCall } from "./stream-call-limits.js";
import { StreamTransfers } from "./stream-transfers.js";
import { observed, type WaitObserver } from "./wait-observer.js";
import type { WriteOrder, WritePath, Writer } from "./write-ordering.js";

/**
 * Size from which an unaligned read is direct. Smaller reads use the page cache, which then holds the rest of the block
 * for the next read.
 */
const DIRECT_FROM_BYTES = 32 << 10;

/** The parameters of a transfer. */
interface TransferMode {
  readonly direction: Direction;
  /** Options of its requests (protocol/how.ts). */
  readonly how: number;
  /** True to go around the page cache. */
  readonly direct: boolean;
  /** Notified while the transfer waits for memory. */
  readonly observer: WaitObserver | undefined;
}

const NO_PRIORITY =
  "a priority isn't given for appends, for calls at a shared position, and for files of /proc and devices: they are " +
  "single system calls of another thread";

function pathOf({ direct }: TransferMode): WritePath {
  return direct ? "direct" : "cached";
}

export class Transfers implements Writer {
  readonly #host: TransferHost;
  readonly #opened: OpenedFile;
  readonly owner: Owner;
  readonly #paths: IoPaths;
  readonly writeOrder: WriteOrder;
  readonly mount: MountOptions;
  /** Transfers of a pipe, terminal or socket; null for other files. */
  readonly #stream: StreamTransfers | null;
  readonly #nodeCalls: NodeCalls;
  readonly #cachedReads: CachedReads;
  readonly #requests: IssuedRequests;
  readonly error: IssuedRequests["error"];
  readonly #copies: MemoryCopies;
  readonly #idleWaiters: (() => void)[] = [];
  /** Calls in flight, from the call to its answer. */
  #active = 0;

  constructor(host: TransferHost, opened: OpenedFile, owner: Owner, paths: IoPaths) {
    this.#host = host;
    this.#opened = opened;
    this.owner = owner;
    this.#paths = paths;
    this.writeOrder = host.writeOrders.of(opened.identity);
    this.writeOrder.join(this);
    this.mount = host.mounts.of(opened.mount);
    this.#requests = new IssuedRequests(host, owner, paths, this.mount);
    this.error = this.#requests.error;
    this.#copies = new MemoryCopies(host.spareStaging, this.error);
    this.#stream = opened.traits.waits ? this.#openStream() : null;
    const counted = (what: "bounced" | "buffered"): void => this.#counted(what);
    this.#cachedReads = new CachedReads({ calls: opened.calls, loop: host.loop, counted });
    this.#nodeCalls = new NodeCalls({
      calls: opened.calls,
      isRefused: (direction, memory) => isRefused(direction, memory, { awaited: true }),
      copy: (direction, memory, ours) => this.#copies.run(direction, memory, ours),
      inTurn: (writeNow) => this.writeOrder.inTurn("cached", writeNow),
      withOptions: (how, transfer) => this.mount.run(how, host, transfer),
      counted,
      error: this.error,
    });
  }

  #openStream(): StreamTransfers {
    const { staging, streamCalls, protocol } = this.#host;
    return new StreamTransfers({
      staging,
      streamCalls,
      isRefused: (direction, memory) => isRefused(direction, memory, { awaited: false }),
      copy: async (direction, memory, piece) =>
        void (await this.#copies.run(direction, memory, piece, { awaited: false })),
      issue: (direction, piece, ended) => this.#requests.issue(direction, piece, -1, { how: 0, direct: false, ended }),
      cancel: (piece) => protocol.dispatcher.cancel(piece),
      error: this.error,
    });
  }

  #counted(what: "bounced" | "buffered"): void {
    this.#host.counted(what);
    if (what === "buffered") this.#paths.bufferedShare.buffered();
  }

  /** Begins a call that `whenIdle` waits for. */
  begin(): void {
    this.#active++;
  }

  end(): void {
    this.#active--;
    this.look();
  }

  /** Transfers by single system calls, as node:fs does; `position` null means the open description's own. */
  runByNode(
    direction: Direction,
    views: readonly ArrayBufferView[],
    position: Position,
    how: number,
    observer?: WaitObserver,
  ): Promise<number> {
    if ((how & RWF.RWF_ATOMIC) !== 0) throw notAtomic();
    if ((how & PRIORITY) !== 0) this.#host.degraded(NO_PRIORITY);
    return this.#lasting(how, this.#nodeCalls.run(direction, views, position, how, observer));
  }

  /** Makes a write last whose mount refuses the flags for that. */
  async #lasting(how: number, write: Promise<number>): Promise<number> {
    const bytes = await write;
    const refused = how & this.mount.refused;
    if ((refused & RWF.RWF_SYNC) !== 0) await this.#opened.handle.sync();
    else if ((refused & RWF.RWF_DSYNC) !== 0) await this.#opened.handle.datasync();
    return bytes;
  }

  /** Transfers a view and resolves to the number of bytes. A write is complete or rejects with `bytesWritten`. */
  async run(
    direction: Direction,
    view: ArrayBufferView,
    position: number,
    how: number,
    observer?: WaitObserver,
  ): Promise<number> {
    const { readable, writable, traits, append } = this.#opened;
    if (!traits.ends || (direction === WRITE && append))
      return this.runByNode(direction, [view], position, how, observer);
    if (view.byteLength === 0 && !(direction === WRITE ? writable : readable)) throw this.error(direction, -EBADF);
    const isAtomic = (how & RWF.RWF_ATOMIC) !== 0;
    if (isAtomic) assertUnit(this.#opened, view.byteLength, position);
    const aligned = ((position | view.byteLength) & (this.#alignOf(direction) - 1)) === 0;
    // Reading the blocks around an unaligned range does no harm; writing them would.
    const goesDirect = aligned || (direction === READ && view.byteLength >= DIRECT_FROM_BYTES);
    const may = direction === WRITE ? this.#paths.hasDirectWrites : this.#paths.hasDirect;
    const direct = goesDirect && may && this.#paths.openDirect();
    if (isAtomic && !direct) throw notAtomic();
    const way = { direction, direct, how, observer };
    if (direction === READ && direct && this.#cachedReads.isAtHand(view, position)) {
      // The read could have been direct, so it doesn't count against the file.
      this.#paths.bufferedShare.direct++;
      return this.runByNode(READ, [view], position, how, observer);
    }
    const transfer = (): Promise<number> => this.#pieces(way, view, position);
    if (direction === WRITE) return this.#lasting(how, this.writeOrder.inTurn(pathOf(way), transfer));
    return direct ? transfer() : this.#cachedReads.read(view, position, transfer);
  }

  /** Transfers on a pipe, a terminal or a socket: a read resolves to what is there. `call` can end it early. */
  async runStream(direction: Direction, views: readonly ArrayBufferView[], call: CancellableCall): Promise<number> {
    const { readable, writable } = this.#opened;
    const parts = views
      .filter(({ byteLength }) => byteLength > 0)
      .map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
    if (!(direction === WRITE ? writable : readable)) throw this.error(direction, -EBADF);
    if (parts.length === 0) return 0;
    const { refusesPipes } = this.#host.scheme;
    if (direction === READ && refusesPipes !== undefined)
      throw new PinlessError("ERR_PINLESS_UNSUPPORTED", refusesPipes);
    this.#host.counted("buffered");
    this.#host.counted("bounced");
    return this.#stream!.run(direction, parts, call);
  }

  /** Puts bytes read from a stream back for the next read. */
  giveBack(parts: readonly Uint8Array[]): void {
    this.#stream?.giveBack(parts);
  }

  /** Transfers what remains after a short transfer, up to an error or the end of the file. */
  async rest(
    direction: Direction,
    view: ArrayBufferView,
    position: number,
    done: number,
    how: number,
  ): Promise<number> {
    // A direct read that isn't a multiple of a block has reached the end of the file.
    if (direction === READ && (done === 0 || done % this.#opened.readAlign !== 0)) return done;
    const left = new Uint8Array(view.buffer, view.byteOffset + done, view.byteLength - done);
    try {
      return done + (await this.run(direction, left, position + done, how));
    } catch (error) {
      if (direction === READ) return done;
      (error as SystemError).bytesWritten = done + ((error as SystemError).bytesWritten ?? 0);
      throw error;
    }
  }

  /** Ends calls on pipes and sockets that may never end by themselves; those of streams only if `forced`. */
  cancel(forced: boolean): void {
    this.#stream?.end(ECANCELED, forced);
  }

  /** Leaves the order of the file's writes, since the file is closed. */
  leave(): void {
    this.writeOrder.part(this);
  }

  /** Calls `run` once no call or request of this file is in flight, at once if there is none now. */
  whenIdle(run: () => void): void {
    this.#idleWaiters.push(run);
    this.look();
  }

  /** Subscribes to the ends of requests while something waits for them. */
  watch(): void {
    this.owner.becameIdle = this.writeOrder.awaited || this.#idleWaiters.length > 0 ? this.look : null;
  }

  /** Resumes what waits for the end of a request. */
  readonly look = (): void => {
    this.writeOrder.next();
    const idle = this.#active === 0 && this.owner.active === 0;
    if (idle) for (const resolve of this.#idleWaiters.splice(0)) resolve();
    this.watch();
  };

  async #pieces(way: TransferMode, view: ArrayBufferView, position: number): Promise<number> {
    const { direction, direct } = way;
    if (direct) this.#paths.bufferedShare.direct++;
    else this.#counted("buffered");
    const segment = this.#host.segmentOf(view.buffer);
    if (segment?.closed === true || isGone(segment, view)) throw this.error(direction, -EFAULT);
    const inArena = segment !== null && contains(segment.range, rangeIn(segment, view));
    // Only device reads may use file-mapped memory directly.
    const align = this.#alignOf(direction);
    const aligned =
      ((position | view.byteLength) & (align - 1)) === 0 && (view.byteOffset & (this.#opened.memoryAlign - 1)) === 0;
    const fits = !direct || aligned;
    const usable = inArena && fits && (direction === WRITE || segment.copier === null);
    if (!usable && view.byteLength > 0) this.#host.counted("bounced");
    if (!usable && (way.how & RWF.RWF_ATOMIC) !== 0) throw notAtomic();
    const { buffer, byteOffset, byteLength } = view;
    const sizeOf = (at: number): number => PIECE_BYTES - this.#before(way, position + at);
    if (direction === READ && segment === null && byteLength > PIECE_BYTES) {
      const read = (at: number, size: number): Promise<number> =>
        this.#staged(way, { buffer, byteOffset: byteOffset + at, byteLength: size }, position + at);
      return readPieces(byteLength, sizeOf, read);
    }
    let done = 0;
    try {
      do {
        const at = byteOffset + done;
        // A piece is cut so that the next one begins on a block.
        const bytes = usable ? byteLength - done : Math.min(byteLength - done, sizeOf(done));
        const part = { buffer, byteOffset: at, byteLength: bytes };
        const moved = usable
          ? await this.#straight(way, part, position + done)
          : await this.#staged(way, part, position + done);
        done += moved;
        // A short read means the end of the file. A write goes on until it's complete or fails.
        if (moved === 0 || (direction === READ && moved < bytes)) break;
      } while (done < byteLength);
    } catch (error) {
      if (direction === WRITE) (error as SystemError).bytesWritten = done;
      else if (done > 0) return done;
      throw error;
    }
    return done;
  }

  /** Transfers directly from or to arena memory. */
  async #straight(way: TransferMode, part: ArrayBufferView, position: number): Promise<number> {
    const { direction, observer } = way;
    const memory = this.#copies.present(direction, part);
    let moved = await this.#requests.issue(direction, memory, position, { ...way, waitPolicy: NEVER_WAITS });
    while (moved < 0 && (way.how & RWF.RWF_ATOMIC) !== 0) {
      await this.#untilOpen(way, part);
      moved = await this.#requests.issue(direction, memory, position, { ...way, waitPolicy: NEVER_WAITS });
    }
    if (moved >= 0) return moved;
    // A read into memory that a memory operation has closed waits in the gate, where it delays no other request.
    if (direction === READ) return observed(observer, () => this.#requests.issue(READ, memory, position, way));
    return this.#writeLate(way, part, position);
  }

  async #staged(way: TransferMode, part: ArrayBufferView, position: number): Promise<number> {
    const { direction, direct } = way;
    if (part.byteLength === 0) return 0;
    if (direction === READ && isReadOnly(part)) throw this.error(direction, -EFAULT);
    await this.#untilOpen(way, part);
    const before = this.#before(way, position);
    const whole = direct ? alignUp(before + part.byteLength, this.#alignOf(direction)) : part.byteLength;
    const piece = await this.#host.staging.acquire(whole);
    try {
      const present = (): Uint8Array => this.#copies.present(direction, part);
      if (direction === READ || (await this.#copies.run(direction, present(), piece, { waitPolicy: NEVER_WAITS }))) {
        const bytes = Math.max(0, (await this.#requests.issue(direction, piece, position - before, way)) - before);
        if (direction === WRITE || bytes === 0) return bytes;
        const memory = present().subarray(0, bytes);
        if (await this.#copies.run(direction, memory, piece.subarray(before), { waitPolicy: NEVER_WAITS }))
          return memory.byteLength;
      }
    } finally {
      await this.#host.staging.release(piece);
    }
    if (direction === WRITE) return this.#writeLate(way, part, position);
    return this.#readLate(way, part, position - before, before, whole);
  }

  /** Bytes between the beginning of the block and the position, for direct I/O. */
  #before({ direction, direct }: TransferMode, position: number): number {
    return direct ? position % this.#alignOf(direction) : 0;
  }

  #alignOf(direction: Direction): number {
    return direction === READ ? this.#opened.readAlign : this.#opened.offsetAlign;
  }

  /** Waits for memory outside of the file's turn to write, so that other writes can go on. */
  async #apart<T>(way: TransferMode, wait: () => Promise<T>): Promise<T> {
    if (way.direction === READ) return observed(way.observer, wait);
    this.writeOrder.leave(pathOf(way));
    try {
      return await observed(way.observer, wait);
    } finally {
      await this.writeOrder.enter(pathOf(way));
    }
  }

  /** Waits until no memory operation closes the part, before staging memory is taken for it. */
  async #untilOpen(way: TransferMode, part: ArrayBufferView): Promise<void> {
    const segment = segmentOf(part.buffer);
    if (segment === null) return;
    const range = rangeIn(segment, part);
    const concerns = way.direction === WRITE ? "deviceReads" : "deviceWrites";
    const { protocol } = segment;
    if (protocol.notifier.isOpen(range, concerns)) return;
    await this.#apart(way, () => new Promise<void>((open) => protocol.whenOpen(range, concerns, open)));
  }

  /** Writes a piece of memory that a memory operation had closed, with the contents after that operation. */
  async #writeLate(
    way: TransferMode,
    { buffer, byteOffset, byteLength }: ArrayBufferView,
    position: number,
  ): Promise<number> {
    const part = { buffer, byteOffset, byteLength: Math.min(byteLength, PIECE_BYTES) };
    const piece = await this.#host.spareStaging.acquire(part.byteLength);
    try {
      await this.#apart(way, () => this.#copies.run(WRITE, this.#copies.present(WRITE, part), piece));
      return await this.#requests.issue(WRITE, piece, position, way);
    } finally {
      await this.#host.spareStaging.release(piece);
    }
  }

  /** Repeats a read whose bytes couldn't be copied because a memory operation had begun, once that has ended. */
  async #readLate(
    way: TransferMode,
    part: ArrayBufferView,
    from: number,
    before: number,
    whole: number,
  ): Promise<number> {
    const { direction, observer } = way;
    const piece = await this.#host.spareStaging.acquire(whole);
    try {
      const bytes = Math.max(0, (await this.#requests.issue(direction, piece, from, way)) - before);
      if (bytes === 0) return bytes;
      const memory = this.#copies.present(direction, part).subarray(0, bytes);
      await observed(observer, () => this.#copies.run(direction, memory, piece.subarray(before)));
      return memory.byteLength;
    } finally {
      await this.#host.spareStaging.release(piece);
    }
  }
}
