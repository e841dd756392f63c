/** Explains why pages were left as they are: the meaning of a memory operation's errno. */

import type { MemoryOperation } from "../ports/memory.js";
import { EFAULT, ENOMEM, EPERM } from "../protocol/errno.js";

const EAGAIN = 11;
const EACCES = 13;
const EBUSY = 16;
const EINVAL = 22;

/** The explanation; `errno` is negative. */
export function explainRefusal(operation: MemoryOperation, errno: number): string {
  switch (-errno) {
    case EAGAIN:
    case EBUSY:
      return operation === "pageOut"
        ? "somebody holds pages (a registration, other direct I/O, of a file another mapping), or swap has no room for them, or the memory cgroup's share of it hasn't"
        : "somebody holds pages: a registration, other direct I/O, or another process";
    case EACCES:
      return SHARED;
    case ENOMEM:
      return operation === "collapse"
        ? "the kernel found no free huge page: memory is short, or in pieces"
        : "the kernel found no free memory for them (on that node, or within the memory cgroup's limit)";
    case EFAULT:
      return READ_ONLY;
    case EPERM:
      return "the kernel forbids it for this memory: it was sealed (mseal), or a security module refuses";
    case EINVAL:
      return operation === "collapse"
        ? "the kernel makes no huge page of this memory: a page of it is missing and can't be brought back, or its mapping doesn't allow one"
        : LOCKED;
    default:
      return `the kernel refused it with errno ${-errno}`;
  }
}

export const SHARED =
  "another process has pages too (a child, with `inherit`), or the kernel has merged them with others (KSM)";
export const LOCKED = "the memory is locked (mlock): munlock it first";
export const READ_ONLY =
  "pages are missing of memory that can't be written, so they can't be brought back: protect(\"readwrite\") first, or mprotect where other code made it so";
