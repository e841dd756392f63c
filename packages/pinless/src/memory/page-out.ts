/** Reclaims pages: madvise(MADV_PAGEOUT). It returns 0 whatever it did, so success is counted in the page tables. */

import { MMAN } from "../abi/numbers.js";
import type { MemoryResult } from "../ports/memory.js";
import { EAGAIN, EINVAL } from "../protocol/errno.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";
import { pagesOf, pieces } from "./operation-pieces.js";
import { explainRefusal, LOCKED, SHARED } from "./refusals.js";
import { persistently } from "./retry.js";

export function* pageOut(range: Range, kernel: MemoryKernel): Steps<MemoryResult> {
  let busy = 0;
  let reason: string | null = null;
  for (const piece of pieces(range, kernel.hugePageBytes)) {
    let left = { held: pagesOf(piece), shared: 0 };
    let fewest = left.held;
    const errno = yield* persistently(kernel, function* (patience) {
      const result = yield* kernel.madvise(piece, MMAN.MADV_PAGEOUT);
      if (result < 0) return result;
      left = kernel.leftIn(piece);
      // As long as pages leave, the retry limit is extended: writing to a slow swap device takes its time.
      if (left.held < fewest) patience.renew();
      fewest = Math.min(fewest, left.held);
      // Shared pages stay for as long as others use them. Of the rest, one call leaves a page or two of 512.
      return left.held === 0 ? 0 : -EAGAIN;
    });
    busy += left.held + left.shared;
    if (errno === -EINVAL) reason ??= LOCKED;
    else if (errno < 0) reason ??= explainRefusal("pageOut", errno);
    if (left.shared > 0) reason ??= SHARED;
  }
  const pages = pagesOf(range);
  const result = { pages, done: pages - busy, busy, errno: busy === 0 ? 0 : -EAGAIN, huge: [] };
  return reason === null ? result : { ...result, reason };
}
