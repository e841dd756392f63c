/** Reports whether this machine can collapse and migrate pages, and its NUMA nodes. */

import { release } from "node:os";
import { MMAN } from "../abi/numbers.js";
import { ENOSYS } from "../protocol/errno.js";
import { madvise, movePages } from "./libc.js";
import { numbersOf, readText } from "./probe.js";

/** Sentence that says why pages can't be collapsed into huge pages, and what to change; null if they can. */
export function explainNoCollapse(): string | null {
  // With length 0 the kernel still checks the advice.
  if (madvise(0, 0, MMAN.MADV_COLLAPSE) === 0) return null;
  return readText("/sys/kernel/mm/transparent_hugepage/enabled") === null
    ? "this kernel has no transparent huge pages: use one with CONFIG_TRANSPARENT_HUGEPAGE."
    : `this kernel (${release()}) has no MADV_COLLAPSE: use 6.1 or later.`;
}

/** Sentence that says why pages can't be migrated to another node, and what to change; null if they can. */
export function explainNoMigration(): string | null {
  // A call with no pages still shows whether it's allowed.
  switch (-movePages([], null, new Int32Array(1))) {
    case 0:
      return null;
    case ENOSYS:
      return (
        "this kernel has no move_pages (CONFIG_NUMA and CONFIG_MIGRATION), or a seccomp filter hides it " +
        "(containers: allow move_pages)."
      );
    default:
      return (
        "move_pages is forbidden here, by a seccomp filter or a security module " +
        "(containers: allow move_pages, or give CAP_SYS_NICE)."
      );
  }
}

/** NUMA nodes with memory that this process may use, in ascending order. */
export function memoryNodes(): number[] {
  const allowed = /^Mems_allowed_list:\s*(\S+)/m.exec(readText("/proc/self/status") ?? "")?.[1];
  const nodes = numbersOf(readText("/sys/devices/system/node/has_memory") ?? allowed ?? "0");
  const usable = new Set(allowed === undefined ? nodes : numbersOf(allowed));
  return nodes.filter((node) => usable.has(node));
}
