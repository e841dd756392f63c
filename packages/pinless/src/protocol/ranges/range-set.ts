/** A set of addresses, kept as ranges that neither overlap nor touch, in order. */

import { intersect, type Range } from "./ranges.js";

export class RangeSet {
  readonly #ranges: Range[] = [];

  /** The ranges of the set, in order; none of them is empty. */
  get ranges(): readonly Range[] {
    return this.#ranges;
  }

  add(r: Range): void {
    if (r.end <= r.start) return;
    const first = this.#firstEndingFrom(r.start);
    let { start, end } = r;
    let last = first;
    for (; last < this.#ranges.length && this.#ranges[last]!.start <= r.end; last++) {
      start = Math.min(start, this.#ranges[last]!.start);
      end = Math.max(end, this.#ranges[last]!.end);
    }
    this.#ranges.splice(first, last - first, { start, end });
  }

  remove(r: Range): void {
    if (r.end <= r.start) return;
    const first = this.#firstEndingFrom(r.start + 1);
    const rest: Range[] = [];
    let last = first;
    for (; last < this.#ranges.length && this.#ranges[last]!.start < r.end; last++) {
      const { start, end } = this.#ranges[last]!;
      if (start < r.start) rest.push({ start, end: r.start });
      if (end > r.end) rest.push({ start: r.end, end });
    }
    this.#ranges.splice(first, last - first, ...rest);
  }

  /** The parts of `r` that are in the set. */
  within(r: Range): Range[] {
    const parts: Range[] = [];
    for (let i = this.#firstEndingFrom(r.start + 1); i < this.#ranges.length && this.#ranges[i]!.start < r.end; i++) {
      const part = intersect(this.#ranges[i]!, r);
      if (part.start < part.end) parts.push(part);
    }
    return parts;
  }

  /** The parts of `r` that aren't in the set. */
  outside(r: Range): Range[] {
    const parts: Range[] = [];
    let at = r.start;
    for (const { start, end } of this.within(r)) {
      if (at < start) parts.push({ start: at, end: start });
      at = end;
    }
    if (at < r.end) parts.push({ start: at, end: r.end });
    return parts;
  }

  meets(r: Range): boolean {
    const next = this.#ranges[this.#firstEndingFrom(r.start + 1)];
    return next !== undefined && next.start < r.end && r.start < r.end;
  }

  covers(r: Range): boolean {
    const next = this.#ranges[this.#firstEndingFrom(r.start + 1)];
    return next !== undefined && next.start <= r.start && r.end <= next.end;
  }

  /** Index of the first range that ends at `address` or after it. */
  #firstEndingFrom(address: number): number {
    let low = 0;
    for (let high = this.#ranges.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (this.#ranges[middle]!.end < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
