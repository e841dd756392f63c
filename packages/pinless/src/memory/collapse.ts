/** Collapses present pages into huge pages: madvise(MADV_COLLAPSE). */

import { ERRNO, MMAN, PRCTL } from "../abi/numbers.js";
import { madvise, prctl } from "../linux/libc.js";
import type { MemoryResult } from "../ports/memory.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { hugePageBytes, pagesOf, pieces } from "./operation-pieces.js";
import { mappingFlags } from "./pagemap.js";
import { explainRefusal, READ_ONLY } from "./refusals.js";
import { persistently } from "./retry.js";

export function collapse(range: Range): MemoryResult {
  const huge: Range[] = [];
  let refused: { readonly piece: Range; readonly errno: number; readonly missing: number } | null = null;
  let done = 0;
  for (const piece of pieces(range)) {
    const { errno, missing } = collapsePiece(piece);
    if (errno === 0) {
      huge.push(piece);
      done += pagesOf(piece);
    } else refused ??= { piece, errno, missing };
  }
  const result = { pages: pagesOf(range), done, busy: pagesOf(range) - done, errno: refused?.errno ?? 0, huge };
  return refused === null ? result : { ...result, reason: explain(refused.piece, refused.errno, refused.missing) };
}

/** Collapses one huge page. `missing` is 0, or -errno if pages that weren't in memory couldn't be brought back. */
function collapsePiece({ start, end }: Range): { errno: number; missing: number } {
  if (end - start !== hugePageBytes) return { errno: -ERRNO.EINVAL, missing: 0 };
  let missing = 0;
  const errno = persistently(() => {
    const first = madvise(start, hugePageBytes, MMAN.MADV_COLLAPSE);
    if (first === 0) return 0;
    // The kernel refuses memory registered with userfaultfd while one of its pages is missing or swapped out.
    missing = madvise(start, hugePageBytes, MMAN.MADV_POPULATE_WRITE);
    return missing < 0 ? first : madvise(start, hugePageBytes, MMAN.MADV_COLLAPSE);
  });
  return { errno, missing };
}

/** Explains a refusal. Causes that can be observed come first, because the kernel uses the same errno for several. */
function explain(piece: Range, errno: number, missing: number): string {
  if (prctl(PRCTL.PR_GET_THP_DISABLE, 0) > 0)
    return "huge pages are switched off for this process, or by its parent (prctl PR_SET_THP_DISABLE)";
  const flags = mappingFlags(piece);
  if (flags.includes("nh"))
    return "other code has advised against huge pages there (MADV_NOHUGEPAGE): madvise(MADV_HUGEPAGE) undoes it";
  if (flags.length > 0 && !flags.includes("rd")) return "other code has made it inaccessible (mprotect, PROT_NONE)";
  if (piece.end - piece.start !== hugePageBytes) return "other code has unmapped a part of a huge page";
  if (missing < 0 && missing !== -ERRNO.ENOMEM) return READ_ONLY;
  return explainRefusal("collapse", missing < 0 ? missing : errno);
}
