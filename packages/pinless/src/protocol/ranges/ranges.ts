/** Half-open ranges of addresses, in bytes. Addresses of user space (47 bits) are exact in a double. */

/** Addresses from `start` up to, not including, `end`. */
export interface Range {
  /** First address. */
  readonly start: number;
  /** Address after the last one. */
  readonly end: number;
}

export function overlaps(a: Range, b: Range): boolean {
  return a.start < b.end && b.start < a.end;
}

export function contains(outer: Range, inner: Range): boolean {
  return outer.start <= inner.start && inner.end <= outer.end;
}

/** Intersection of two ranges; empty (start = end) if they don't overlap. */
export function intersect(a: Range, b: Range): Range {
  const start = Math.max(a.start, b.start);
  return { start, end: Math.max(start, Math.min(a.end, b.end)) };
}

/** Parts of `whole` outside of `parts`, in order of addresses. */
export function without(whole: Range, parts: readonly Range[]): Range[] {
  let left = [whole];
  for (const part of parts) {
    left = left.flatMap((piece) => {
      if (!overlaps(piece, part)) return [piece];
      const before = { start: piece.start, end: Math.max(piece.start, part.start) };
      const after = { start: Math.min(piece.end, part.end), end: piece.end };
      return [before, after].filter(({ start, end }) => start < end);
    });
  }
  return left;
}

/** Smallest range of whole units around `r`; `unit` is a power of two. */
export function alignOut(r: Range, unit: number): Range {
  return { start: alignDown(r.start, unit), end: alignUp(r.end, unit) };
}

/** Rounds down to a multiple of `unit`, by division: a mask has only 32 bits, too few for addresses. */
export function alignDown(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

export function alignUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(value) && value > 0 && 2 ** Math.round(Math.log2(value)) === value;
}
