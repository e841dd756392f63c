/** Copies between a caller's memory and staging memory. In arena memory a copy obeys the rules of a request. */

import { NEVER_WAITS, WAITS, type WaitPolicy } from "../protocol/acceptance.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import { EFAULT } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { contains } from "../protocol/ranges/ranges.js";
import { locationIn, rangeIn, type Segment, segmentOf } from "../protocol/segment.js";
import { PIECE_BYTES, type StagingMemory } from "./staging-memory.js";

/** True if other code has unmapped the arena memory: not even a copy may touch it. */
export function isGone(segment: Segment | null, view: ArrayBufferView): boolean {
  return segment !== null && segment.table.gone.length > 0 && segment.table.isGone(rangeIn(segment, view));
}

/** True if the memory is read-only, so that a store by JavaScript would kill the process. */
export function isReadOnly(view: ArrayBufferView): boolean {
  const segment = segmentOf(view.buffer);
  return segment?.protocol.gate.readOnly.meets(rangeIn(segment, view)) === true;
}

/**
 * True if a copy must fail as a request would. `awaited`: the arena's close waits for this call, since it began before.
 */
export function isRefused(
  direction: Direction,
  memory: Uint8Array,
  { awaited }: { readonly awaited: boolean },
): boolean {
  const segment = segmentOf(memory.buffer);
  const closed = segment?.closed === true && !(direction === WRITE && awaited);
  return closed || isGone(segment, memory) || (direction === READ && isReadOnly(memory));
}

/** True if a transfer of this arena memory would have to wait for a memory operation now. */
export function isExcluded(segment: Segment | null, direction: Direction, view: ArrayBufferView): boolean {
  return (
    segment?.protocol.notifier.excludes(
      rangeIn(segment, view),
      direction === WRITE ? "deviceReads" : "deviceWrites",
    ) === true
  );
}

/** Options of a copy: `awaited` as of `isRefused` (default true), and its wait policy (default WAITS). */
interface CopyMode {
  readonly awaited?: boolean;
  readonly waitPolicy?: WaitPolicy;
}

export class MemoryCopies {
  /** Staging memory that grows, since a copy may wait for memory. */
  readonly #staging: StagingMemory;
  readonly #error: (direction: Direction, errno: number) => SystemError;

  constructor(staging: StagingMemory, error: (direction: Direction, errno: number) => SystemError) {
    this.#staging = staging;
    this.#error = error;
  }

  /**
   * Returns the memory of the call as it is now. If its buffer has been transferred, the call fails with EFAULT; if it
   * has been shortened, a write fails, and a read uses the rest.
   */
  present(direction: Direction, { buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
    const left = Math.min(byteLength, buffer.byteLength - byteOffset);
    if (left < byteLength && (left <= 0 || direction === WRITE)) throw this.#error(direction, -EFAULT);
    return new Uint8Array(buffer, byteOffset, left);
  }

  /**
   * Copies between the caller's memory and a piece. In arena memory the copy stands for a request: memory operations
   * exclude it, and it can fail. Resolves to false if it would have to wait for one and mustn't.
   */
  run(
    direction: Direction,
    memory: Uint8Array,
    piece: Uint8Array,
    { awaited = true, waitPolicy = WAITS }: CopyMode = {},
  ): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const copy = (): void => {
        try {
          if (isRefused(direction, memory, { awaited })) reject(this.#error(direction, -EFAULT));
          else if (direction === WRITE) piece.set(memory);
          else memory.set(piece.subarray(0, memory.byteLength));
          resolve(true);
        } catch (error) {
          reject(error);
        }
      };
      const segment = segmentOf(memory.buffer);
      if (segment === null) return copy();
      if (segment.copier !== null)
        return void this.#byKernel(direction, memory, piece, segment, waitPolicy).then(resolve, reject);
      const range = rangeIn(segment, memory);
      const concerns = direction === WRITE ? "deviceReads" : "deviceWrites";
      if (waitPolicy === NEVER_WAITS && !segment.protocol.notifier.isOpen(range, concerns)) return resolve(false);
      segment.protocol.whenOpen(range, concerns, copy);
    });
  }

  async #byKernel(
    direction: Direction,
    memory: Uint8Array,
    piece: Uint8Array,
    segment: Segment,
    waitPolicy: WaitPolicy = WAITS,
  ): Promise<boolean> {
    if (memory.byteLength === 0) return true;
    if (segmentOf(piece.buffer) === null) return this.#throughStaging(direction, memory, piece, segment);
    // While the arena closes, the gate decides which copies are still accepted.
    const refused = segment.index < 0 || !contains(segment.range, rangeIn(segment, memory));
    const location = locationIn(segment, memory, segment.bufferAddress + memory.byteOffset, memory.byteLength);
    const staging = rangeIn(segmentOf(piece.buffer)!, piece).start;
    const errno = refused ? -EFAULT : await segment.copier!.copy(direction, location, staging, waitPolicy);
    if (errno === "would wait") return false;
    if (errno < 0) throw this.#error(direction, errno);
    return true;
  }

  /** Copies between file-mapped memory and memory of ours that the copier can't address, through staging memory. */
  async #throughStaging(direction: Direction, memory: Uint8Array, ours: Uint8Array, segment: Segment): Promise<true> {
    for (let at = 0; at < memory.byteLength; at += PIECE_BYTES) {
      const part = memory.subarray(at, at + PIECE_BYTES);
      const piece = await this.#staging.acquire(part.byteLength);
      try {
        if (direction === READ) piece.set(ours.subarray(at, at + part.byteLength));
        await this.#byKernel(direction, part, piece, segment);
        if (direction === WRITE) ours.set(piece, at);
      } finally {
        await this.#staging.release(piece);
      }
    }
    return true;
  }
}
