/** msync in single steps, for the explorer and tests. */

import { violated } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { WAIT } from "./page-tables.js";

/**
 * Steps of msync of one page. A step that returns false has to wait and is repeated. msync ends when the page isn't
 * under writeback any more, whichever call began that.
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
