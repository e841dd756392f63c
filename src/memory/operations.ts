/**
 * The memory operations themselves: madvise(2) in pieces of a huge page, with retries. Right after the last completion of unregistered
 * I/O the kernel may hold its pages for some milliseconds more (seen: 9.4 ms), so EAGAIN and EBUSY are tried again for 20 ms.
 */

import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { ERRNO, MMAN } from "../abi/numbers.js";
import type { MemoryRequest, MemoryResult } from "../core/ports.js";
import { alignDown, alignUp, intersect, type Range } from "../core/ranges.js";
import { madvise, mprotect } from "../linux/libc.js";

const PAGE_BYTES = 4096;
const PATIENCE_MS = 20;
const FIRST_WAIT_MS = 0.2;
const PAGEMAP_ENTRY_BYTES = 8;
const hugePageBytes = readHugePageBytes();

export function runOperation(request: MemoryRequest): MemoryResult {
  const range = { start: request.address, end: request.address + request.bytes };
  // Nothing is left of a discard inside one page: its bytes were written with zeros.
  if (request.bytes === 0) return { pages: 0, done: 0, busy: 0, errno: 0, huge: [] };
  switch (request.operation) {
    case "prepare":
      return prepare(range, request);
    case "discard":
      return simple(range, (piece) => madvise(piece.start, piece.end - piece.start, MMAN.MADV_DONTNEED));
    case "discardLazily":
      return simple(range, (piece) => madvise(piece.start, piece.end - piece.start, MMAN.MADV_FREE));
    case "collapse":
      return collapse(range);
    case "pageOut":
      return pageOut(range);
    case "makeReadOnly":
      return protect(range, MMAN.PROT_READ);
    case "makeWritable":
      return protect(range, MMAN.PROT_READ | MMAN.PROT_WRITE);
  }
}

/** A new arena: not inherited by children, present, and in huge pages where there are any. One call a property, so the mapping isn't split. */
function prepare(range: Range, { inherit, hugePages }: MemoryRequest): MemoryResult {
  const bytes = range.end - range.start;
  const pages = bytes / PAGE_BYTES;
  const refused = (errno: number): MemoryResult => ({ pages, done: 0, busy: pages, errno, huge: [] });
  // Either way: V8 advises MADV_DONTFORK for WebAssembly memory on some builds.
  const advised = madvise(range.start, bytes, inherit === true ? MMAN.MADV_DOFORK : MMAN.MADV_DONTFORK);
  if (advised < 0) return refused(advised);
  // EINVAL: a kernel without transparent huge pages. Small pages work as well.
  // Where none are asked for, none are forbidden either: collapse() is refused with EINVAL on memory advised against them.
  if (hugePages !== false) madvise(range.start, bytes, MMAN.MADV_HUGEPAGE);
  const populated = simple(range, (piece) => madvise(piece.start, piece.end - piece.start, MMAN.MADV_POPULATE_WRITE));
  if (populated.errno !== 0 || hugePages === false) return populated;
  return { ...populated, huge: collapse(range).huge };
}

/** An operation whose return value says it all. */
function simple(range: Range, operate: (piece: Range) => number): MemoryResult {
  let done = 0;
  let errno = 0;
  for (const piece of pieces(range)) {
    const result = persistently(() => operate(piece));
    if (result === 0) done += pagesOf(piece);
    else errno = result;
  }
  return { pages: pagesOf(range), done, busy: pagesOf(range) - done, errno, huge: [] };
}

function collapse(range: Range): MemoryResult {
  const huge: Range[] = [];
  let errno = 0;
  let done = 0;
  for (const piece of pieces(range)) {
    const result =
      piece.end - piece.start === hugePageBytes
        ? persistently(() => madvise(piece.start, hugePageBytes, MMAN.MADV_COLLAPSE))
        : -ERRNO.EINVAL;
    if (result === 0) {
      huge.push(piece);
      done += pagesOf(piece);
    } else errno = result;
  }
  return { pages: pagesOf(range), done, busy: pagesOf(range) - done, errno, huge };
}

/** In one call, so that it's done or not done: where the range was one mapping, what is refused has changed nothing. */
function protect(range: Range, protection: number): MemoryResult {
  const pages = pagesOf(range);
  const errno = mprotect(range.start, range.end - range.start, protection);
  return { pages, done: errno === 0 ? pages : 0, busy: errno === 0 ? 0 : pages, errno, huge: null };
}

/** The call says 0 whatever it did, so what left is counted in the page tables; one call leaves a page or two of 512. */
function pageOut(range: Range): MemoryResult {
  let busy = 0;
  for (const piece of pieces(range)) {
    let left = pagesOf(piece);
    persistently((patience) => {
      const result = madvise(piece.start, piece.end - piece.start, MMAN.MADV_PAGEOUT);
      if (result < 0) return result;
      const resident = residentPages(piece);
      // Pages on their way to a slow disk aren't held by anybody: they have all the time they need, as long as they go.
      if (resident < left) patience.renew();
      left = resident;
      return left === 0 ? 0 : -ERRNO.EAGAIN;
    });
    busy += left;
  }
  return {
    pages: pagesOf(range),
    done: pagesOf(range) - busy,
    busy,
    errno: busy === 0 ? 0 : -ERRNO.EAGAIN,
    huge: [],
  };
}

/** Tries again while the kernel says that somebody still holds a page. */
function persistently(operate: (patience: { renew(): void }) => number): number {
  let begin = performance.now();
  let waitMs = FIRST_WAIT_MS;
  const patience = {
    renew(): void {
      begin = performance.now();
      waitMs = FIRST_WAIT_MS;
    },
  };
  for (;;) {
    const result = operate(patience);
    if (result !== -ERRNO.EAGAIN && result !== -ERRNO.EBUSY) return result;
    if (performance.now() - begin + waitMs > PATIENCE_MS) return result;
    Atomics.wait(pause, 0, 0, waitMs);
    waitMs *= 2;
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** Cuts a range at the boundaries of huge pages. */
function* pieces(range: Range): Generator<Range> {
  for (let at = alignDown(range.start, hugePageBytes); at < range.end; at += hugePageBytes) {
    yield intersect(range, { start: at, end: at + hugePageBytes });
  }
}

function pagesOf(r: Range): number {
  return (alignUp(r.end, PAGE_BYTES) - alignDown(r.start, PAGE_BYTES)) / PAGE_BYTES;
}

/**
 * Pages of the range that are in memory and this process's alone: bits 63 and 56 of /proc/self/pagemap, which everyone can read for their
 * own memory. Without bit 56 it's the shared zero page, which a split huge page of zeros maps, and which holds no memory.
 */
function residentPages(range: Range): number {
  const bytes = new Uint8Array(pagesOf(range) * PAGEMAP_ENTRY_BYTES);
  const fd = openSync("/proc/self/pagemap", "r");
  try {
    readSync(fd, bytes, 0, bytes.length, (range.start / PAGE_BYTES) * PAGEMAP_ENTRY_BYTES);
  } finally {
    closeSync(fd);
  }
  let resident = 0;
  for (let i = PAGEMAP_ENTRY_BYTES - 1; i < bytes.length; i += PAGEMAP_ENTRY_BYTES) {
    if ((bytes[i]! & 0x80) !== 0 && (bytes[i]! & 0x01) !== 0) resident++;
  }
  return resident;
}

function readHugePageBytes(): number {
  try {
    return Number(readFileSync("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "utf8"));
  } catch {
    return 2 << 20;
  }
}
