/** Explains why pages were left as they are: the meaning of a memory operation's errno. */

import type { MemoryOperation } from "../ports/memory.js";
import { EACCES, EAGAIN, EBUSY, EFAULT, EINVAL, ENOMEM, EPERM } from "../protocol/errno.js";

/** The explanation; `errno` is negative. */
export function explainRefusal(operation: MemoryOperation, errno: number): string {
  switch (-errno) {
    case EAGAIN:
    case EBUSY:
      return operation === "pageOut"
        ? "pages are held (by a registration, other direct I/O, or another mapping of the file), " +
            "or swap, or the memory cgroup's share of it, is full"
        : "pages are held by a registration, other direct I/O, or another process";
    case EACCES:
      return SHARED;
    case ENOMEM:
      return operation === "collapse"
        ? "the kernel found no free huge page: memory is short, or fragmented"
        : "the kernel found no free memory for them (on that node, or within the memory cgroup's limit)";
    case EFAULT:
      return READ_ONLY;
    case EPERM:
      return "the kernel forbids it for this memory: it was sealed (mseal), or a security module refuses";
    case EINVAL:
      return operation === "collapse"
        ? "the kernel can't make a huge page of this memory: one of its pages is missing and can't be brought " +
            "back, or its mapping doesn't allow it"
        : LOCKED;
    default:
      return `the kernel refused it with errno ${-errno}`;
  }
}

export const SHARED = "pages are shared with another process (a child, with `inherit`), or merged with others (KSM)";
export const LOCKED = "the memory is locked (mlock): munlock it first";
export const READ_ONLY =
  'missing pages can\'t be brought back, because the memory is read-only: protect("readwrite") first, ' +
  "or mprotect if other code protected it";
