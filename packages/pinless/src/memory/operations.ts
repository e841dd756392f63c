/** The memory operations: madvise(2) and others, in pieces of a huge page, with retries. */

import { FALLOC, MMAN } from "../abi/numbers.js";
import { FOUND_AT_ONCE, type MemoryRequest, type MemoryResult } from "../ports/memory.js";
import { EINVAL } from "../protocol/errno.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { collapse } from "./collapse.js";
import { copyRange } from "./copied-range.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";
import { migrate } from "./migrate.js";
import { inOne, pagesOf, pieces } from "./operation-pieces.js";
import { pageOut } from "./page-out.js";
import { explainRefusal } from "./refusals.js";
import { persistently } from "./retry.js";

const MODES = { allocate: 0, punch: FALLOC.FALLOC_FL_PUNCH_HOLE, zero: FALLOC.FALLOC_FL_ZERO_RANGE };

export function* runOperation(request: MemoryRequest, kernel: MemoryKernel): Steps<MemoryResult> {
  const range = { start: request.address, end: request.address + request.bytes };
  // A discard within one page has been done already, by writing zeros.
  if (request.bytes === 0) return { pages: 0, done: 0, busy: 0, errno: 0, huge: [] };
  switch (request.operation) {
    case "prepare":
      return yield* prepare(range, request, kernel);
    case "discard":
      return explained(request, yield* simple(range, kernel, (piece) => discard(piece, kernel)));
    case "discardLazily":
      return explained(request, yield* advise(range, MMAN.MADV_FREE, kernel));
    case "collapse":
      return yield* collapse(range, kernel);
    case "pageOut":
      return yield* pageOut(range, kernel);
    case "migrate":
      return explained(request, yield* migrate(range, request.node!, kernel));
    // The range is one mapping, so that a refused mprotect has changed nothing.
    case "makeReadOnly":
      return inOne(range, yield* kernel.mprotect(range, MMAN.PROT_READ));
    case "makeWritable":
      return inOne(range, yield* kernel.mprotect(range, MMAN.PROT_READ | MMAN.PROT_WRITE));
    case "extendFile":
      return inOne(range, yield* kernel.extendFile(request.file!.fd, request.file!.position + request.bytes));
    case "fallocate": {
      const { fd, position } = request.file!;
      const mode = MODES[request.change!] | (request.keepSize === true ? FALLOC.FALLOC_FL_KEEP_SIZE : 0);
      return inOne(range, yield* kernel.fallocate(fd, mode, position, request.bytes));
    }
    case "copyRange":
      return yield* copyRange(request, kernel);
    case "dataRanges": {
      const start = request.file!.position;
      const found = yield* kernel.dataRanges(request.file!.fd, { start, end: start + request.bytes }, FOUND_AT_ONCE);
      return typeof found === "number" ? inOne(range, found) : { ...inOne(range, 0), data: found };
    }
    case "lock": {
      const { fd, position } = request.file!;
      const part = { start: position, end: position + request.bytes };
      return inOne(range, yield* kernel.setLock(fd, part, request.lock!));
    }
    case "mapFile":
      return inOne(range, yield* mapFile(range, request, kernel));
    // Zeroed pages, as in a new arena: access through a stale view stays harmless.
    case "mapZeros":
      return inOne(range, yield* kernel.mapOver(range, null));
    case "writeback":
      return inOne(range, yield* kernel.msync(range));
  }
}

/**
 * Prepares a new arena: not inherited by children, populated, and in huge pages if possible. Each advice is given for
 * the whole range, so that the mapping isn't split.
 */
function* prepare(range: Range, { inherit, hugePages }: MemoryRequest, kernel: MemoryKernel): Steps<MemoryResult> {
  const pages = (range.end - range.start) / PAGE_BYTES;
  // Both advices are given, because V8 sets MADV_DONTFORK for WebAssembly memory in some builds.
  const advised = yield* kernel.madvise(range, inherit === true ? MMAN.MADV_DOFORK : MMAN.MADV_DONTFORK);
  if (advised < 0) return { pages, done: 0, busy: pages, errno: advised, huge: [] };
  // EINVAL means a kernel without transparent huge pages; small pages work as well. If none are wanted, none are
  // forbidden either, because MADV_NOHUGEPAGE would make collapse() fail with EINVAL.
  if (hugePages !== false) yield* kernel.madvise(range, MMAN.MADV_HUGEPAGE);
  const populated = yield* advise(range, MMAN.MADV_POPULATE_WRITE, kernel);
  if (populated.errno !== 0 || hugePages === false) return populated;
  return { ...populated, huge: (yield* collapse(range, kernel)).huge };
}

/** Prepares a few MiB, without waiting for huge pages. */
export function* prepareAtOnce(request: MemoryRequest, kernel: MemoryKernel): Steps<MemoryResult> {
  const { address, bytes, hugePages } = request;
  const range = { start: address, end: address + bytes };
  if (hugePages !== false) yield* kernel.madvise(range, MMAN.MADV_HUGEPAGE);
  const prepared = yield* prepare(range, { operation: "prepare", address, bytes, hugePages: false }, kernel);
  if (prepared.errno !== 0 || hugePages === false) return prepared;
  const huge: Range[] = [];
  for (const piece of pieces(range, kernel.hugePageBytes)) {
    const isWhole = piece.end - piece.start === kernel.hugePageBytes;
    if (isWhole && (yield* kernel.madvise(piece, MMAN.MADV_COLLAPSE)) === 0) huge.push(piece);
  }
  return { ...prepared, huge };
}

/** Adds the explanation of its errno to a result. */
function explained({ operation }: MemoryRequest, result: MemoryResult): MemoryResult {
  return result.busy === 0 ? result : { ...result, reason: explainRefusal(operation, result.errno) };
}

function* discard(piece: Range, kernel: MemoryKernel): Steps<number> {
  const errno = yield* kernel.madvise(piece, MMAN.MADV_DONTNEED);
  // Locked memory (mlock) needs another advice, from Linux 5.18 on.
  return errno === -EINVAL ? yield* kernel.madvise(piece, MMAN.MADV_DONTNEED_LOCKED) : errno;
}

function advise(range: Range, advice: number, kernel: MemoryKernel): Steps<MemoryResult> {
  return simple(range, kernel, (piece) => kernel.madvise(piece, advice));
}

/** Runs an operation whose return value is its result. */
function* simple(range: Range, kernel: MemoryKernel, operate: (piece: Range) => Steps<number>): Steps<MemoryResult> {
  let done = 0;
  let errno = 0;
  for (const piece of pieces(range, kernel.hugePageBytes)) {
    const result = yield* persistently(kernel, () => operate(piece));
    if (result === 0) done += pagesOf(piece);
    else errno = result;
  }
  return { pages: pagesOf(range), done, busy: pagesOf(range) - done, errno, huge: [] };
}

/** Maps a file. Nothing is read until it's used. */
function* mapFile(range: Range, { file, inherit }: MemoryRequest, kernel: MemoryKernel): Steps<number> {
  const mapped = yield* kernel.mapOver(range, file!);
  return mapped < 0 || inherit === true ? mapped : yield* kernel.madvise(range, MMAN.MADV_DONTFORK);
}
