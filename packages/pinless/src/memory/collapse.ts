/** Collapses present pages into huge pages: madvise(MADV_COLLAPSE). */

import { MMAN } from "../abi/numbers.js";
import type { MemoryResult } from "../ports/memory.js";
import { EINVAL, ENOMEM } from "../protocol/errno.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";
import { pagesOf, pieces } from "./operation-pieces.js";
import { explainRefusal, READ_ONLY } from "./refusals.js";
import { persistently } from "./retry.js";

export function* collapse(range: Range, kernel: MemoryKernel): Steps<MemoryResult> {
  const huge: Range[] = [];
  let refused: { readonly piece: Range; readonly errno: number; readonly missing: number } | null = null;
  let done = 0;
  for (const piece of pieces(range, kernel.hugePageBytes)) {
    const { errno, missing } = yield* collapsePiece(piece, kernel);
    if (errno === 0) {
      huge.push(piece);
      done += pagesOf(piece);
    } else refused ??= { piece, errno, missing };
  }
  const result = { pages: pagesOf(range), done, busy: pagesOf(range) - done, errno: refused?.errno ?? 0, huge };
  if (refused === null) return result;
  return { ...result, reason: explain(refused.piece, refused.errno, refused.missing, kernel) };
}

/** Collapses one huge page. `missing` is 0, or -errno if pages that weren't in memory couldn't be brought back. */
function* collapsePiece(piece: Range, kernel: MemoryKernel): Steps<{ errno: number; missing: number }> {
  if (piece.end - piece.start !== kernel.hugePageBytes) return { errno: -EINVAL, missing: 0 };
  let missing = 0;
  const errno = yield* persistently(kernel, function* () {
    const first = yield* kernel.madvise(piece, MMAN.MADV_COLLAPSE);
    if (first === 0) return 0;
    // The kernel refuses memory registered with userfaultfd while one of its pages is missing or swapped out.
    missing = yield* kernel.madvise(piece, MMAN.MADV_POPULATE_WRITE);
    return missing < 0 ? first : yield* kernel.madvise(piece, MMAN.MADV_COLLAPSE);
  });
  return { errno, missing };
}

/** Explains a refusal. Causes that can be observed come first. */
function explain(piece: Range, errno: number, missing: number, kernel: MemoryKernel): string {
  const observed = kernel.explainNoHugePage(piece);
  if (observed !== null) return observed;
  if (piece.end - piece.start !== kernel.hugePageBytes) return "other code has unmapped a part of a huge page";
  if (missing < 0 && missing !== -ENOMEM) return READ_ONLY;
  return explainRefusal("collapse", missing < 0 ? missing : errno);
}
