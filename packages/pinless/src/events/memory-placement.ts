/** NUMA nodes of leased pages and of the thread that uses them, where the kernel's NUMA balancing would move pages. */

import { MEMPOLICY } from "../abi/numbers.js";
import { memoryPolicy, movePages, nodeOfThread } from "../linux/libc.js";
import { readFileSync } from "../linux/originals.js";
import { explainNoMigration, memoryNodes } from "../linux/page-migration-support.js";
import { EFAULT } from "../protocol/errno.js";

const BALANCING = "/proc/sys/kernel/numa_balancing";

/**
 * Opens the source; null where nothing is ever moved, because the process may use the memory of one node only. A string
 * is a sentence that says why the nodes of pages can't be had.
 */
export function openPlacement(): ((pages: readonly number[]) => number) | string | null {
  if (memoryNodes().length < 2) return null;
  const whyNot = explainNoMigration();
  return whyNot === null ? countElsewhere : `NUMA balancing doesn't get at leased memory: ${whyNot}`;
}

/** Counts the pages that NUMA balancing would move to the node of the calling thread, if they weren't pinned. */
function countElsewhere(pages: readonly number[]): number {
  if (!isBalanced()) return 0;
  const here = nodeOfThread();
  const status = new Int32Array(pages.length);
  if (here < 0 || movePages(pages, null, status) < 0) return 0;
  // Up to Linux 6.1, EFAULT is also said of pages that NUMA balancing has marked, and will move.
  return status.filter((node) => (node >= 0 && node !== here) || node === -EFAULT).length;
}

/** True if the host's administrator has switched it on, and no policy of the thread (numactl) says where memory is. */
function isBalanced(): boolean {
  try {
    if (Number(readFileSync(BALANCING, "latin1")) === 0) return false;
  } catch {
    return false;
  }
  const policy = memoryPolicy();
  return policy <= MEMPOLICY.MPOL_DEFAULT || (policy & MEMPOLICY.MPOL_F_NUMA_BALANCING) !== 0;
}
