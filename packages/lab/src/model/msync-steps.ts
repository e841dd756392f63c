/** msync, for whatever takes a machine through its steps one by one. */

import { violated } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { WAIT } from "./page-tables.js";

/**
 * The steps of msync of a page; a step that returns false has to wait, and is taken again. It's over when the page
 * isn't under writeback any more, whoever began that.
 */
export function msyncSteps({ cache, writeback }: Kernel, inodePage: number): (() => boolean)[] {
  let ours = false;
  const begin = (): boolean => {
    const before = cache.isUnderWriteback(inodePage);
    const errno = writeback.begin(inodePage);
    if (errno !== 0 && errno !== WAIT) violated("STATE", `writeback of inode page ${inodePage} fails with ${errno}`);
    ours = errno === 0 && !before && cache.isUnderWriteback(inodePage);
    return errno === 0;
  };
  const serve = (): boolean => {
    if (ours) writeback.serve(inodePage);
    return true;
  };
  const end = (): boolean => {
    if (ours) writeback.end(inodePage);
    return !cache.isUnderWriteback(inodePage);
  };
  return [begin, serve, end];
}
