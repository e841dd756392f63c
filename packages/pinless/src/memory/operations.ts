/** The memory operations: madvise(2) and others, in pieces of a huge page, with retries. */

import { ERRNO, MMAN } from "../abi/numbers.js";
import { madvise, movePages, mprotect } from "../linux/libc.js";
import type { MemoryRequest, MemoryResult } from "../ports/memory.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { collapse } from "./collapse.js";
import { extendFile, mapFile, mapZeros, writeback } from "./mapped-file.js";
import { migrate } from "./migrate.js";
import { hugePageBytes, inOne, pagesOf, pieces } from "./operation-pieces.js";
import { pageOut } from "./page-out.js";
import { presentPages } from "./pagemap.js";
import { explainRefusal } from "./refusals.js";
import { persistently } from "./retry.js";

export function runOperation(request: MemoryRequest): MemoryResult {
  const range = { start: request.address, end: request.address + request.bytes };
  // A discard within one page has been done already, by writing zeros.
  if (request.bytes === 0) return { pages: 0, done: 0, busy: 0, errno: 0, huge: [] };
  switch (request.operation) {
    case "prepare":
      return prepare(range, request);
    case "discard":
      return explained(request, simple(range, discard));
    case "discardLazily":
      return explained(
        request,
        simple(range, (piece) => madvise(piece.start, piece.end - piece.start, MMAN.MADV_FREE)),
      );
    case "collapse":
      return collapse(range);
    case "pageOut":
      return pageOut(range);
    case "migrate":
      return explained(request, migrate(range, request.node!, { movePages, touch }));
    case "makeReadOnly":
      return protect(range, MMAN.PROT_READ);
    case "makeWritable":
      return protect(range, MMAN.PROT_READ | MMAN.PROT_WRITE);
    case "extendFile":
      return extendFile(range, request);
    case "mapFile":
      return mapFile(range, request);
    case "mapZeros":
      return mapZeros(range);
    case "writeback":
      return writeback(range);
  }
}

/**
 * Prepares a new arena: not inherited by children, populated, and in huge pages if possible. Each advice is given for
 * the whole range, so that the mapping isn't split.
 */
function prepare(range: Range, { inherit, hugePages }: MemoryRequest): MemoryResult {
  const bytes = range.end - range.start;
  const pages = bytes / PAGE_BYTES;
  const refused = (errno: number): MemoryResult => ({ pages, done: 0, busy: pages, errno, huge: [] });
  // Both advices are given, because V8 sets MADV_DONTFORK for WebAssembly memory in some builds.
  const advised = madvise(range.start, bytes, inherit === true ? MMAN.MADV_DOFORK : MMAN.MADV_DONTFORK);
  if (advised < 0) return refused(advised);
  // EINVAL means a kernel without transparent huge pages; small pages work as well. If none are wanted, none are
  // forbidden either, because MADV_NOHUGEPAGE would make collapse() fail with EINVAL.
  if (hugePages !== false) madvise(range.start, bytes, MMAN.MADV_HUGEPAGE);
  const populated = simple(range, (piece) => madvise(piece.start, piece.end - piece.start, MMAN.MADV_POPULATE_WRITE));
  if (populated.errno !== 0 || hugePages === false) return populated;
  return { ...populated, huge: collapse(range).huge };
}

/** Prepares a few MiB synchronously, without waiting for huge pages. */
export function prepareAtOnce({ address, bytes, hugePages }: MemoryRequest): MemoryResult {
  const range = { start: address, end: address + bytes };
  if (hugePages !== false) madvise(address, bytes, MMAN.MADV_HUGEPAGE);
  const prepared = prepare(range, { operation: "prepare", address, bytes, hugePages: false });
  if (prepared.errno !== 0 || hugePages === false) return prepared;
  const huge = [...pieces(range)].filter(
    ({ start, end }) => end - start === hugePageBytes && madvise(start, hugePageBytes, MMAN.MADV_COLLAPSE) === 0,
  );
  return { ...prepared, huge };
}

/** Adds the explanation of its errno to a result. */
function explained({ operation }: MemoryRequest, result: MemoryResult): MemoryResult {
  return result.busy === 0 ? result : { ...result, reason: explainRefusal(operation, result.errno) };
}

function discard({ start, end }: Range): number {
  const errno = madvise(start, end - start, MMAN.MADV_DONTNEED);
  // Locked memory (mlock) needs another advice, from Linux 5.18 on.
  return errno === -ERRNO.EINVAL ? madvise(start, end - start, MMAN.MADV_DONTNEED_LOCKED) : errno;
}

/** Runs an operation whose return value is its result. */
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

/** Changes the protection in a single call: if the range is one mapping, a refusal has changed nothing. */
function protect(range: Range, protection: number): MemoryResult {
  return inOne(range, mprotect(range.start, range.end - range.start, protection));
}

/** Loads from pages that are in memory, which maps pages again that NUMA balancing has hidden. */
function touch(pages: readonly number[]): void {
  for (const page of presentPages(pages)) madvise(page, PAGE_BYTES, MMAN.MADV_POPULATE_READ);
}
