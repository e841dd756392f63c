/** The epoll descriptor of this thread's event loop. Node doesn't hand it out; it's found by a socket that it polls. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Descriptors that are looked at, lowest first: the loop is older than nearly all else that a thread opens. */
const MAX_LOOKED_AT = 1024;

/** Once found it stays the same, as the module is loaded in each thread anew. */
let found = -1;

/**
 * Returns the descriptor, or -1 if it can't be found: without /proc, or while the socket isn't polled yet.
 *
 * @param socket - Descriptor of a socket that this thread's loop polls
 */
export function loopDescriptor(socket: number): number {
  if (found >= 0) return found;
  try {
    const fds = readdirSync("/proc/self/fd").map(Number);
    fds.sort((a, b) => a - b);
    found = fds.slice(0, MAX_LOOKED_AT).find((fd) => polls(fd, socket)) ?? -1;
  } catch {
    // A process without a /proc, or without a descriptor to spare, goes on without it.
  }
  return found;
}

function polls(fd: number, socket: number): boolean {
  try {
    if (readlinkSync(`/proc/self/fd/${fd}`) !== "anon_inode:[eventpoll]") return false;
    return new RegExp(`^tfd: +${socket} `, "m").test(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
  } catch {
    return false; // It was closed meanwhile.
  }
}
