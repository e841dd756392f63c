/**
 * Transfers that can't go directly between arena memory and the device. Unaligned ones go through the page cache, on
 * the second descriptor. Memory that isn't an arena's, or isn't aligned, is copied through staging memory.
 */

import type { OpenedFile } from "../ports/opened-file.js";
import { BUSY, NEVER_WAITS, type Owner, type Patience, SHUT, WAITS } from "../protocol/acceptance.js";
import { EBADF, ECANCELED, EFAULT } from "../protocol/errno.js";
import { type DescribeErrno, PinlessError, type SystemError, systemError } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import { alignUp, contains } from "../protocol/ranges/ranges.js";
import type { Scheme } from "../protocol/scheme.js";
import { locationIn, rangeIn, type Segment, segmentOf } from "../protocol/segment.js";
import type { IoPaths } from "./io-paths.js";
import { NodeCalls } from "./node-calls.js";
import type { Position } from "./position-arguments.js";
import { readPieces } from "./read-pieces.js";
import { PIECE_BYTES, type StagingMemory } from "./staging-memory.js";
import type { CancellableCall, StreamCallLimits } from "./stream-call-limits.js";
import { StreamTransfers } from "./stream-transfers.js";
import { observed, type WaitObserver } from "./wait-observer.js";
import type { WriteOrder, WriteOrders, Writer } from "./write-ordering.js";

/**
 * Size from which an unaligned read is direct. Smaller ones use the page cache, which then has the rest of the block
 * for the next.
 */
const DIRECT_FROM_BYTES = 32 << 10;
/** Size from which a read asks first if the page cache has all of it. */
const CACHED_FROM_BYTES = 256 << 10;

/** True if other code has unmapped the arena memory: not even a copy may touch it. */
function isGone(segment: Segment | null, view: ArrayBufferView): boolean {
  return segment !== null && segment.table.gone.length > 0 && segment.table.isGone(rangeIn(segment, view));
}

export interface TransferHost {
  readonly protocol: Protocol;
  readonly scheme: Scheme;
  readonly staging: StagingMemory;
  /** Staging memory that grows, for calls that wait for memory: they must not use up the shared one. */
  readonly spareStaging: StagingMemory;
  readonly writeOrders: WriteOrders;
  /** Limits on calls that may never end by themselves. */
  readonly streamCalls: StreamCallLimits;
  readonly describe: DescribeErrno;
  /** Finds the arena segment of a buffer, or null. */
  segmentOf(buffer: ArrayBufferLike): Segment | null;
  /** Runs `attempt` when requests end, in the order of the calls, until it answers true. */
  enqueue(attempt: () => boolean): void;
  counted(what: "bounced" | "buffered"): void;
}

/** The parameters of a transfer. */
interface TransferMode {
  readonly write: boolean;
  /** True to go around the page cache. */
  readonly direct: boolean;
  /** Notified while the transfer waits for memory. */
  readonly observer: WaitObserver | undefined;
}

/** True if a store by JavaScript would kill the process. */
function isReadOnly(view: ArrayBufferView): boolean {
  const segment = segmentOf(view.buffer);
  return segment?.protocol.gate.readOnly.meets(rangeIn(segment, view)) === true;
}

/**
 * True if a copy must fail as a request would. `awaited`: the arena's close waits for this call, since it began before.
 */
function isRefused(write: boolean, memory: Uint8Array, awaited: boolean): boolean {
  const segment = segmentOf(memory.buffer);
  const closed = segment?.closed === true && !(write && awaited);
  return closed || isGone(segment, memory) || (!write && isReadOnly(memory));
}

export class Transfers implements Writer {
  readonly #host: TransferHost;
  readonly #opened: OpenedFile;
  readonly owner: Owner;
  readonly #ways: IoPaths;
  readonly writeOrder: WriteOrder;
  /** Transfers of a pipe, terminal or socket; null for other files. */
  readonly #stream: StreamTransfers | null;
  readonly #nodeCalls: NodeCalls;
  readonly #settled: (() => void)[] = [];
  /** Calls in flight, from the call to its answer. */
  #active = 0;

  constructor(host: TransferHost, opened: OpenedFile, owner: Owner, ways: IoPaths) {
    this.#host = host;
    this.#opened = opened;
    this.owner = owner;
    this.#ways = ways;
    this.writeOrder = host.writeOrders.of(opened.identity);
    this.writeOrder.join(this);
    this.#stream = opened.traits.waits ? this.#openStream() : null;
    this.#nodeCalls = new NodeCalls({
      calls: opened.calls,
      isRefused: (write, memory) => isRefused(write, memory, true),
      copy: (write, memory, ours) => this.#copy(write, memory, ours),
      inTurn: (writeNow) => this.#inTurn(true, writeNow),
      counted: (what) => this.#counted(what),
      error: (write, errno) => this.error(write, errno),
    });
  }

  #openStream(): StreamTransfers {
    const { staging, streamCalls, protocol } = this.#host;
    return new StreamTransfers({
      staging,
      streamCalls,
      isRefused: (write, memory) => isRefused(write, memory, false),
      copy: async (write, memory, piece) => void (await this.#copy(write, memory, piece, false)),
      issue: (write, piece, ended) => this.#issue(write, piece, -1, false, WAITS, ended),
      cancel: (piece) => protocol.dispatcher.cancel(piece),
      error: (write, errno) => this.error(write, errno),
    });
  }

  #counted(what: "bounced" | "buffered"): void {
    this.#host.counted(what);
    if (what === "buffered") this.#ways.share.buffered();
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
    write: boolean,
    views: readonly ArrayBufferView[],
    position: Position,
    observer?: WaitObserver,
  ): Promise<number> {
    return this.#nodeCalls.run(write, views, position, observer);
  }

  async #inTurn(cached: boolean, write: () => Promise<number>): Promise<number> {
    await this.writeOrder.enter(cached);
    try {
      return await write();
    } finally {
      this.writeOrder.leave(cached);
    }
  }

  /** Runs `go` in the file's turn for direct writes: for a direct write that has waited for memory. */
  turn(go: () => void): void {
    if (this.writeOrder.direct) go();
    else
      void this.writeOrder.enter(false).then(() => {
        go();
        this.writeOrder.leave(false);
      });
  }

  /** True if a transfer of this memory would have to wait for a memory operation now. */
  isShut(write: boolean, view: ArrayBufferView): boolean {
    const segment = this.#host.segmentOf(view.buffer);
    return segment?.protocol.notifier.excludes(rangeIn(segment, view), write ? "deviceReads" : "deviceWrites") === true;
  }

  /** Transfers a view and resolves to the number of bytes. A write is complete or rejects with `bytesWritten`. */
  async run(write: boolean, view: ArrayBufferView, position: number, observer?: WaitObserver): Promise<number> {
    const { readable, writable, traits, append } = this.#opened;
    if (!traits.ends || (write && append)) return this.runByNode(write, [view], position, observer);
    if (view.byteLength === 0 && !(write ? writable : readable)) throw this.error(write, -EBADF);
    const aligned = ((position | view.byteLength) & (this.#opened.offsetAlign - 1)) === 0;
    // Reading the blocks around an unaligned range does no harm; writing them would.
    const goesDirect = aligned || (!write && view.byteLength >= DIRECT_FROM_BYTES);
    const may = write ? this.#ways.hasDirectWrites : this.#ways.hasDirect;
    const direct = goesDirect && may && this.#ways.openDirect();
    const way = { write, direct, observer };
    if (!write && direct && this.#isAtHand(view, position)) {
      // It could have been direct, so it doesn't count against the file.
      this.#ways.share.direct++;
      return this.runByNode(false, [view], position, observer);
    }
    if (!write) return this.#pieces(way, view, position);
    return this.#inTurn(!direct, () => this.#pieces(way, view, position));
  }

  /** True for a large read into ordinary memory of what the page cache has: a copy from there adds nothing to it. */
  #isAtHand({ buffer, byteLength }: ArrayBufferView, position: number): boolean {
    return (
      byteLength >= CACHED_FROM_BYTES && segmentOf(buffer) === null && this.#opened.calls.isCached(position, byteLength)
    );
  }

  /** Transfers on a pipe, a terminal or a socket: a read resolves to what is there. `call` can end it early. */
  async runStream(write: boolean, views: readonly ArrayBufferView[], call: CancellableCall): Promise<number> {
    const { readable, writable } = this.#opened;
    const parts = views
      .filter(({ byteLength }) => byteLength > 0)
      .map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength));
    if (!(write ? writable : readable)) throw this.error(write, -EBADF);
    if (parts.length === 0) return 0;
    const { refusesPipes } = this.#host.scheme;
    if (!write && refusesPipes !== undefined) throw new PinlessError("ERR_PINLESS_UNSUPPORTED", refusesPipes);
    this.#host.counted("buffered");
    this.#host.counted("bounced");
    return this.#stream!.run(write, parts, call);
  }

  /** Puts bytes read from a stream back for the next read. */
  giveBack(parts: readonly Uint8Array[]): void {
    this.#stream?.giveBack(parts);
  }

  /** Transfers what remains after a short transfer, up to an error or the end of the file. */
  async rest(write: boolean, view: ArrayBufferView, position: number, done: number): Promise<number> {
    // A direct read that isn't a multiple of a block has reached the end of the file.
    if (!write && (done === 0 || done % this.#opened.offsetAlign !== 0)) return done;
    const left = new Uint8Array(view.buffer, view.byteOffset + done, view.byteLength - done);
    try {
      return done + (await this.run(write, left, position + done));
    } catch (error) {
      if (!write) return done;
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
    this.#settled.push(run);
    this.look();
  }

  /** Subscribes to the ends of requests while something waits for them. */
  watch(): void {
    this.owner.quiet = this.writeOrder.awaited || this.#settled.length > 0 ? this.look : null;
  }

  /** Resumes what waits for the end of a request. */
  readonly look = (): void => {
    this.writeOrder.next();
    const settled = this.#active === 0 && this.owner.active === 0;
    if (settled) for (const resolve of this.#settled.splice(0)) resolve();
    this.watch();
  };

  async #pieces(way: TransferMode, view: ArrayBufferView, position: number): Promise<number> {
    const { write, direct } = way;
    if (direct) this.#ways.share.direct++;
    else this.#counted("buffered");
    const segment = this.#host.segmentOf(view.buffer);
    if (segment?.closed === true || isGone(segment, view)) throw this.error(write, -EFAULT);
    const inArena = segment !== null && contains(segment.range, rangeIn(segment, view));
    // Only device reads may use file-mapped memory directly.
    const { memoryAlign, offsetAlign } = this.#opened;
    const aligned =
      ((position | view.byteLength) & (offsetAlign - 1)) === 0 && (view.byteOffset & (memoryAlign - 1)) === 0;
    const fits = !direct || aligned;
    const usable = inArena && fits && (write || segment.copier === null);
    if (!usable && view.byteLength > 0) this.#host.counted("bounced");
    const { buffer, byteOffset, byteLength } = view;
    const sizeOf = (at: number): number => PIECE_BYTES - this.#before(position + at, direct);
    if (!write && segment === null && byteLength > PIECE_BYTES) {
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
        if (moved === 0 || (!write && moved < bytes)) break;
      } while (done < byteLength);
    } catch (error) {
      if (write) (error as SystemError).bytesWritten = done;
      else if (done > 0) return done;
      throw error;
    }
    return done;
  }

  /** Transfers directly from or to arena memory. */
  async #straight(way: TransferMode, part: ArrayBufferView, position: number): Promise<number> {
    const { write, direct, observer } = way;
    const memory = this.#present(write, part);
    const moved = await this.#issue(write, memory, position, direct, NEVER_WAITS);
    if (moved >= 0) return moved;
    // A read into memory that a memory operation has closed waits in the gate, where it's in nobody's way.
    if (!write) return observed(observer, () => this.#issue(false, memory, position, direct));
    return this.#writeLate(way, part, position);
  }

  async #staged(way: TransferMode, part: ArrayBufferView, position: number): Promise<number> {
    const { write, direct } = way;
    if (part.byteLength === 0) return 0;
    if (!write && isReadOnly(part)) throw this.error(write, -EFAULT);
    await this.#untilOpen(way, part);
    const before = this.#before(position, direct);
    const whole = direct ? alignUp(before + part.byteLength, this.#opened.offsetAlign) : part.byteLength;
    const piece = await this.#host.staging.acquire(whole);
    try {
      if (!write || (await this.#copy(write, this.#present(write, part), piece, true, false))) {
        const bytes = Math.max(0, (await this.#issue(write, piece, position - before, direct)) - before);
        if (write || bytes === 0) return bytes;
        const memory = this.#present(write, part).subarray(0, bytes);
        if (await this.#copy(write, memory, piece.subarray(before), true, false)) return memory.byteLength;
      }
    } finally {
      await this.#host.staging.release(piece);
    }
    return write ? this.#writeLate(way, part, position) : this.#readLate(way, part, position - before, before, whole);
  }

  /** Bytes between the beginning of the block and the position, for direct I/O. */
  #before(position: number, direct: boolean): number {
    return direct ? position % this.#opened.offsetAlign : 0;
  }

  /**
   * The memory of the call. If the buffer was transferred since, it fails with EFAULT; if it was shortened, a write
   * fails, and a read uses what is left.
   */
  #present(write: boolean, { buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
    const left = Math.min(byteLength, buffer.byteLength - byteOffset);
    if (left < byteLength && (left <= 0 || write)) throw this.error(write, -EFAULT);
    return new Uint8Array(buffer, byteOffset, left);
  }

  /** Waits for memory outside of the file's turn to write, so that other writes can go on. */
  async #apart<T>({ write, direct, observer }: TransferMode, wait: () => Promise<T>): Promise<T> {
    if (!write) return observed(observer, wait);
    this.writeOrder.leave(!direct);
    try {
      return await observed(observer, wait);
    } finally {
      await this.writeOrder.enter(!direct);
    }
  }

  /** Waits until no memory operation closes the part, before staging memory is taken for it. */
  async #untilOpen(way: TransferMode, part: ArrayBufferView): Promise<void> {
    const segment = segmentOf(part.buffer);
    if (segment === null) return;
    const range = rangeIn(segment, part);
    const concerns = way.write ? "deviceReads" : "deviceWrites";
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
      await this.#apart(way, () => this.#copy(true, this.#present(true, part), piece));
      return await this.#issue(true, piece, position, way.direct);
    } finally {
      await this.#host.spareStaging.release(piece);
    }
  }

  /**
   * Reads again into memory that a memory operation closed while the first read was in flight, and delivers when it has
   * ended.
   */
  async #readLate(
    { write, direct, observer }: TransferMode,
    part: ArrayBufferView,
    from: number,
    before: number,
    whole: number,
  ): Promise<number> {
    const piece = await this.#host.spareStaging.acquire(whole);
    try {
      const bytes = Math.max(0, (await this.#issue(write, piece, from, direct)) - before);
      if (bytes === 0) return bytes;
      const memory = this.#present(write, part).subarray(0, bytes);
      await observed(observer, () => this.#copy(write, memory, piece.subarray(before)));
      return memory.byteLength;
    } finally {
      await this.#host.spareStaging.release(piece);
    }
  }

  /**
   * Copies between the caller's memory and a piece. In arena memory the copy stands for a request: memory operations
   * exclude it, and it can fail. Resolves to false if it would have to wait for one and isn't `patient`.
   */
  #copy(write: boolean, memory: Uint8Array, piece: Uint8Array, awaited = true, patient = true): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const copy = (): void => {
        try {
          if (isRefused(write, memory, awaited)) reject(this.error(write, -EFAULT));
          else if (write) piece.set(memory);
          else memory.set(piece.subarray(0, memory.byteLength));
          resolve(true);
        } catch (error) {
          reject(error);
        }
      };
      const segment = segmentOf(memory.buffer);
      if (segment === null) return copy();
      if (segment.copier !== null)
        return void this.#copyByKernel(write, memory, piece, segment, patient).then(resolve, reject);
      const range = rangeIn(segment, memory);
      const concerns = write ? "deviceReads" : "deviceWrites";
      if (!patient && !segment.protocol.notifier.isOpen(range, concerns)) return resolve(false);
      segment.protocol.whenOpen(range, concerns, copy);
    });
  }

  async #copyByKernel(
    write: boolean,
    memory: Uint8Array,
    piece: Uint8Array,
    segment: Segment,
    patient = true,
  ): Promise<boolean> {
    if (memory.byteLength === 0) return true;
    if (segmentOf(piece.buffer) === null) return this.#copyThroughStaging(write, memory, piece, segment);
    // While the arena closes, the gate decides which copies were in time.
    const refused = segment.index < 0 || !contains(segment.range, rangeIn(segment, memory));
    const location = locationIn(segment, memory, segment.bufferAddress + memory.byteOffset, memory.byteLength);
    const staging = rangeIn(segmentOf(piece.buffer)!, piece).start;
    const errno = refused ? -EFAULT : await segment.copier!.copy(!write, location, staging, patient);
    if (errno === "shut") return false;
    if (errno < 0) throw this.error(write, errno);
    return true;
  }

  /** Copies between file-mapped memory and memory of ours that the copier can't address, through staging memory. */
  async #copyThroughStaging(write: boolean, memory: Uint8Array, ours: Uint8Array, segment: Segment): Promise<true> {
    for (let at = 0; at < memory.byteLength; at += PIECE_BYTES) {
      const part = memory.subarray(at, at + PIECE_BYTES);
      const piece = await this.#host.spareStaging.acquire(part.byteLength);
      try {
        if (!write) piece.set(ours.subarray(at, at + part.byteLength));
        await this.#copyByKernel(write, part, piece, segment);
        if (write) ours.set(piece, at);
      } finally {
        await this.#host.spareStaging.release(piece);
      }
    }
    return true;
  }

  /** Issues one request. Resolves to -1 if it would have to wait for memory and `patience` forbids it. */
  #issue(
    write: boolean,
    memory: Uint8Array,
    position: number,
    direct: boolean,
    patience: Patience = WAITS,
    ended: () => boolean = () => false,
  ): Promise<number> {
    const { protocol, segmentOf } = this.#host;
    const segment = segmentOf(memory.buffer);
    if (memory.byteLength === 0) return Promise.resolve(0);
    const file = direct ? this.#ways.direct : this.#ways.cached;
    return new Promise((resolve, reject) => {
      const done = (errno: number, bytes: number): void => {
        if (errno < 0) reject(this.error(write, errno));
        else resolve(bytes);
      };
      if (segment === null || segment.index < 0) return done(-EFAULT, 0);
      const location = locationIn(segment, memory, segment.bufferAddress + memory.byteOffset, memory.byteLength);
      this.#host.enqueue(() => {
        if (ended()) {
          done(-ECANCELED, 0);
          return true;
        }
        // The caller keeps the file's turn to write: a write that queued for it again would wait for itself.
        const answer = protocol.dispatcher.accept(write, file, this.owner, false, location, position, done, patience);
        if (answer === SHUT) resolve(-1);
        return answer !== BUSY;
      });
    });
  }

  error(write: boolean, errno: number): SystemError {
    const error = systemError(this.#host.describe, errno, write ? "write" : "read");
    if (write) error.bytesWritten = 0;
    return error;
  }
}
