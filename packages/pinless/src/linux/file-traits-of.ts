/** Asks the kernel what an open file has. */

import type { Stats } from "node:fs";
import { EPOLL, ERRNO } from "../abi/numbers.js";
import type { FileTraits } from "../ports/opened-file.js";
import { close, EPOLL_EVENT_BYTES, epollControl, epollCreate, pread0, pwrite0 } from "./libc.js";

/** `shared`: whether it was open before. `prompt`: as in the traits. */
export function traitsOf(
  fd: number,
  stat: Pick<Stats, "isFile" | "isBlockDevice">,
  shared: boolean,
  prompt: boolean,
): FileTraits {
  const preads = pread0(fd) !== -ERRNO.ESPIPE;
  const pwrites = pwrite0(fd) !== -ERRNO.ESPIPE;
  const ends = preads && pwrites && (stat.isFile() || stat.isBlockDevice());
  return { preads, pwrites, shared, ends, waits: !preads && canBePolled(fd), prompt };
}

/** Whether the kernel can tell when it's ready: what never keeps anybody waiting is refused with EPERM. */
function canBePolled(fd: number): boolean {
  const epoll = epollCreate(EPOLL.EPOLL_CLOEXEC);
  if (epoll < 0) return true;
  const refused = epollControl(epoll, EPOLL.EPOLL_CTL_ADD, fd, new Uint8Array(EPOLL_EVENT_BYTES)) < 0;
  close(epoll);
  return !refused;
}
