/** Whether and where pages can be moved on this machine. */

import { release } from "node:os";
import { ERRNO, MMAN } from "../abi/numbers.js";
import { madvise, movePages } from "./libc.js";
import { numbersOf, readText } from "./probe.js";

/** One sentence: why pages can't be made huge pages, and what to change; or null. */
export function explainNoCollapse(): string | null {
  // Of no memory at all: the advice is looked at all the same.
  if (madvise(0, 0, MMAN.MADV_COLLAPSE) === 0) return null;
  return readText("/sys/kernel/mm/transparent_hugepage/enabled") === null
    ? "this kernel has no transparent huge pages: it takes one with CONFIG_TRANSPARENT_HUGEPAGE."
    : `this kernel (${release()}) can't make huge pages when asked to (MADV_COLLAPSE): 6.1 or later can.`;
}

/** One sentence: why pages can't be moved to another node, and what to change; or null. */
export function explainNoMigration(): string | null {
  // Of no pages at all.
  switch (-movePages([], null, new Int32Array(1))) {
    case 0:
      return null;
    case ERRNO.ENOSYS:
      return "move_pages isn't in this kernel (it takes one with CONFIG_NUMA and CONFIG_MIGRATION), or a seccomp filter hides it (containers: allow move_pages).";
    default:
      return "move_pages is forbidden here, by a seccomp filter or a security module (containers: allow move_pages, or give CAP_SYS_NICE).";
  }
}

/** The nodes that have memory which this process may use, in order. */
export function memoryNodes(): number[] {
  const allowed = /^Mems_allowed_list:\s*(\S+)/m.exec(readText("/proc/self/status") ?? "")?.[1];
  const nodes = numbersOf(readText("/sys/devices/system/node/has_memory") ?? allowed ?? "0");
  const usable = new Set(allowed === undefined ? nodes : numbersOf(allowed));
  return nodes.filter((node) => usable.has(node));
}
