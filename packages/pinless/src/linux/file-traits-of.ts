/** Determines the traits of an open file by asking the kernel. */

import type { Stats } from "node:fs";
import { EPOLL } from "../abi/numbers.js";
import type { FileTraits } from "../ports/opened-file.js";
import { ESPIPE } from "../protocol/errno.js";
import { close, EPOLL_EVENT_BYTES, epollControl, epollCreate, pread0, pwrite0 } from "./libc.js";

/** Determines the traits. `shared` is true if the caller passed a descriptor, which may have other users. */
export function traitsOf(
  fd: number,
  stat: Pick<Stats, "isFile" | "isBlockDevice">,
  shared: boolean,
  prompt: boolean,
): FileTraits {
  const preads = pread0(fd) !== -ESPIPE;
  const pwrites = pwrite0(fd) !== -ESPIPE;
  const ends = preads && pwrites && (stat.isFile() || stat.isBlockDevice());
  return { preads, pwrites, shared, ends, waits: !preads && canBePolled(fd), prompt };
}

/** True if epoll accepts the descriptor; for files that never block it refuses with EPERM. */
function canBePolled(fd: number): boolean {
  const epoll = epollCreate(EPOLL.EPOLL_CLOEXEC);
  if (epoll < 0) return true;
  const refused = epollControl(epoll, EPOLL.EPOLL_CTL_ADD, fd, new Uint8Array(EPOLL_EVENT_BYTES)) < 0;
  close(epoll);
  return !refused;
}
