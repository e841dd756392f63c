/** Finds the data of a sparse file: lseek(2) with SEEK_DATA and SEEK_HOLE. */

import { FCNTL, SEEK } from "../abi/numbers.js";
import { lseek } from "../linux/libc.js";
import { closeSync, openSync } from "../linux/originals.js";
import { EINVAL, ENXIO } from "../protocol/errno.js";
import { intersect, type Range } from "../protocol/ranges/ranges.js";

/** Finds the first `most` ranges with data. lseek(2) moves the position, so it's that of a description of its own. */
export function dataRanges(fd: number, range: Range, most: number): readonly Range[] | number {
  const own = openSync(`/proc/self/fd/${fd}`, FCNTL.O_RDONLY);
  try {
    return search(own, range, most);
  } finally {
    closeSync(own);
  }
}

function search(fd: number, range: Range, most: number): readonly Range[] | number {
  const found: Range[] = [];
  for (let at = range.start; at < range.end && found.length < most; ) {
    const start = lseek(fd, at, SEEK.SEEK_DATA);
    if (start === -EINVAL) return wholeDevice(fd, range);
    const end = start < 0 ? start : lseek(fd, start, SEEK.SEEK_HOLE);
    if (end === -ENXIO) break;
    if (end < 0) return end;
    const data = intersect(range, { start, end });
    // Nothing is left of data that has become a hole meanwhile.
    if (data.start < data.end) found.push(data);
    at = end;
  }
  return found;
}

/** The range on a block device, which has no holes to seek. */
function wholeDevice(fd: number, range: Range): readonly Range[] {
  const { start, end } = intersect(range, { start: 0, end: lseek(fd, 0, SEEK.SEEK_END) });
  return start < end ? [{ start, end }] : [];
}
