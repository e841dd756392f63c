/**
 * Free list of a segment: first fit, in order of addresses. A buffer of up to `boundary` bytes never crosses a multiple
 * of it.
 */

import { alignUp, overlaps, type Range, without } from "./ranges.js";

interface Piece {
  start: number;
  end: number;
}

export class FreeList {
  readonly #boundary: number;
  readonly #free: Piece[];
  readonly #allocated = new Map<number, number>();
  /** Retired pieces by offset: no longer allocated, and not free yet. */
  readonly #retired = new Map<number, number>();
  readonly #withdrawn: Range[] = [];

  /**
   * `boundary` is the chunk size, so that one lease covers a buffer of up to a chunk. Offsets are within the segment.
   */
  constructor(bytes: number, boundary: number) {
    this.#boundary = boundary;
    this.#free = [{ start: 0, end: bytes }];
  }

  /** Allocates a piece; returns its offset, or -1 if none fits. */
  allocate(bytes: number, align: number): number {
    for (let i = 0; i < this.#free.length; i++) {
      const piece = this.#free[i]!;
      let start = alignUp(piece.start, align);
      const edge = alignUp(start + 1, this.#boundary);
      if (bytes <= this.#boundary && start + bytes > edge) start = edge;
      if (start + bytes > piece.end) continue;
      const { end } = piece;
      // The remainder before or after the buffer keeps the piece's index, so that no element has to move.
      if (start > piece.start) {
        piece.end = start;
        if (start + bytes < end) this.#free.splice(i + 1, 0, { start: start + bytes, end });
      } else if (start + bytes < end) piece.start = start + bytes;
      else this.#free.splice(i, 1);
      this.#allocated.set(start, bytes);
      return start;
    }
    return -1;
  }

  /** Withdraws the bytes from `start` to `end`: they are never allocated again. */
  withdraw(start: number, end: number): void {
    this.#withdrawn.push({ start, end });
    const left = this.#free.flatMap((piece) => without(piece, [{ start, end }]).map((part) => ({ ...part })));
    this.#free.splice(0, this.#free.length, ...left);
  }

  /** Bytes of the allocated piece at `start`, or undefined if there is none. */
  allocatedAt(start: number): number | undefined {
    return this.#allocated.get(start);
  }

  /** Retires a piece: it's no longer allocated, so that it can't be freed twice, but its memory isn't free yet. */
  retire(start: number): void {
    this.#retired.set(start, this.#allocated.get(start)!);
    this.#allocated.delete(start);
  }

  /** Makes a retired piece an allocated one again. */
  restore(start: number, bytes: number): void {
    this.#retired.delete(start);
    this.#allocated.set(start, bytes);
  }

  /** Makes a retired piece free, except for its withdrawn parts. */
  release(start: number, bytes: number): void {
    this.#retired.delete(start);
    const parts = without({ start, end: start + bytes }, this.#withdrawn);
    for (const part of parts) this.#release(part.start, part.end - part.start);
  }

  #release(start: number, bytes: number): void {
    const low = this.#firstFrom(start);
    const before = this.#free[low - 1];
    const after = this.#free[low];
    const joinsBefore = before !== undefined && before.end === start;
    const joinsAfter = after !== undefined && after.start === start + bytes;
    if (joinsBefore && joinsAfter) {
      before.end = after.end;
      this.#free.splice(low, 1);
    } else if (joinsBefore) before.end += bytes;
    else if (joinsAfter) after.start = start;
    else this.#free.splice(low, 0, { start, end: start + bytes });
  }

  /** True if a byte of the range is retired. */
  hasRetired(range: Range): boolean {
    for (const [start, bytes] of this.#retired) if (overlaps(range, { start, end: start + bytes })) return true;
    return false;
  }

  /** True if a byte of the range is free or retired. */
  hasFreed(range: Range): boolean {
    if (this.hasRetired(range)) return true;
    const at = this.#firstFrom(range.start);
    const before = this.#free[at - 1];
    const after = this.#free[at];
    return (before !== undefined && overlaps(range, before)) || (after !== undefined && overlaps(range, after));
  }

  /** The first free piece that doesn't begin before `start`. */
  #firstFrom(start: number): number {
    let low = 0;
    for (let high = this.#free.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (this.#free[middle]!.start < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
