/** The Range header of RFC 9110, section 14. */

import { HttpError } from "./http-error.js";

/** Bytes of a file, both ends included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Limit on the ranges of a request: each is a seek for the disk and a head of its own in the answer. */
const MAX_RANGES = 32;
/** Ranges with a smaller gap between them become one, because the head of a part takes about as many bytes. */
const GAP_BYTES = 128;

/**
 * Parses a Range header. Returns null for one that is to be ignored: of another unit, or malformed. Ranges that overlap
 * or nearly touch are merged, and stay in the order of the request.
 *
 * @throws 416 if no range has a byte of the file, or if there are too many ranges
 */
export function rangesOf(header: string, size: number): ByteRange[] | null {
  const [, set] = /^bytes=(.*)$/i.exec(header) ?? [];
  if (set === undefined) return null;
  const unsatisfiable = (message: string) => new HttpError(416, message, { "Content-Range": `bytes */${size}` });
  const specs = set.split(",", MAX_RANGES + 1);
  if (specs.length > MAX_RANGES) throw unsatisfiable(`at most ${MAX_RANGES} ranges are served at a time`);
  const ranges: ByteRange[] = [];
  for (const spec of specs) {
    const [, first = "", last = ""] = /^[ \t]*(\d*)-(\d*)[ \t]*$/.exec(spec) ?? [];
    if (first === "" && last === "") return null;
    if (first !== "" && last !== "" && BigInt(last) < BigInt(first)) return null;
    // Numbers beyond 2^53 lose digits here, but no file is that long.
    const start = first === "" ? Math.max(0, size - Number(last)) : Number(first);
    const end = first === "" || last === "" ? size - 1 : Math.min(Number(last), size - 1);
    if (start <= end) merge(ranges, { start, end });
  }
  // A suffix of an empty file is all of it, but no Content-Range can say that.
  if (size === 0 && specs.some((spec) => /^\s*-0*[1-9]/.test(spec))) return null;
  if (ranges.length === 0) throw unsatisfiable(`the file has ${size} bytes`);
  return ranges;
}

/** Adds a range, merged with those that it overlaps, in the place of the first of them. */
function merge(ranges: ByteRange[], added: ByteRange): void {
  for (let i = 0; i < ranges.length; i++) {
    const { start, end } = ranges[i]!;
    if (added.start > end + GAP_BYTES || start > added.end + GAP_BYTES) continue;
    ranges.splice(i, 1);
    const merged: ByteRange[] = ranges.splice(i);
    merge(ranges, { start: Math.min(start, added.start), end: Math.max(end, added.end) });
    for (const range of merged) merge(ranges, range);
    return;
  }
  ranges.push(added);
}
