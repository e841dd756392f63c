/**
 * Tests whether this kernel releases a dropped registration promptly. It takes a lease, drops it and times the tag:
 * once with the ring idle, and once while a read of an empty socket is pending on another slot. Kernels before 6.13
 * release a second late, or never (6.1: 1,020 to 1,055 ms, and none within 5 s).
 */

import { SQE } from "../../abi/layouts.js";
import { IO_URING, SOCKET } from "../../abi/numbers.js";
import { fixedMemory } from "../../linux/fixed-memory.js";
import { close, socketpair } from "../../linux/libc.js";
import { addressOf } from "../../linux/libc-bindings.js";
import { errnoText } from "../../linux/probe.js";
import { Ring } from "../../linux/ring.js";
import { EINTR, ENOMEM } from "../../protocol/errno.js";
import { LARGEST_PAGE_BYTES } from "../../protocol/ranges/pages.js";
import { RegisteredBuffers } from "./registered-buffers.js";

/** Limit for the tag. Prompt kernels take microseconds; the rest is for a busy machine. */
const LIMIT_MS = 100;
const TAG = 1;
const PENDING_READ = 7;

export interface Revocation {
  readonly works: boolean;
  /** Sentence that says why revocation doesn't work, or how fast it is. */
  readonly detail: string;
  /**
   * Milliseconds from drop to tag, if it works: with nothing else in the ring, and with a read pending on another slot.
   */
  readonly idleMs?: number;
  readonly busyMs?: number;
  /** True if nothing could be registered for lack of memory. The test is then repeated at the next use. */
  readonly noMemory?: boolean;
  /** Errno of the test itself, if the kernel refused it. */
  readonly errno?: number;
}

const NO_MEMORY: Revocation = { works: false, detail: "no room for a registration", noMemory: true };

export function probeRevocation(nowMs: () => number): Revocation {
  const ring = Ring.open({
    entries: 4,
    completions: 16,
    flags: IO_URING.IORING_SETUP_COOP_TASKRUN | IO_URING.IORING_SETUP_TASKRUN_FLAG,
  });
  if (typeof ring === "number") return refused("no ring with COOP_TASKRUN", ring);
  const pair = socketpair(SOCKET.AF_UNIX, SOCKET.SOCK_STREAM | SOCKET.SOCK_CLOEXEC);
  try {
    const buffers = RegisteredBuffers.open(ring, 2, TAG);
    if (typeof buffers === "number") return refused("no sparse buffer table", buffers);
    if (typeof pair === "number") return refused("no socket for the test", pair);
    const memory = fixedMemory(2 * LARGEST_PAGE_BYTES);
    const address = addressOf(memory);
    const idleMs = timeRevoke(ring, buffers, address, nowMs);
    if (idleMs === -ENOMEM) return NO_MEMORY;
    if (typeof idleMs === "string") return { works: false, detail: `${idleMs} when idle` };
    const taken = buffers.take(1, address + LARGEST_PAGE_BYTES, LARGEST_PAGE_BYTES);
    if (taken === -ENOMEM) return NO_MEMORY;
    if (taken < 0) return refused("no second registration", taken);
    readWithoutEnd(ring, pair[0], address + LARGEST_PAGE_BYTES);
    const busyMs = timeRevoke(ring, buffers, address, nowMs);
    if (busyMs === -ENOMEM) return NO_MEMORY;
    if (typeof busyMs === "string")
      return { works: false, detail: `${busyMs} while a read was pending on another slot` };
    return {
      works: true,
      idleMs,
      busyMs,
      detail: `${idleMs.toFixed(3)} ms idle, ${busyMs.toFixed(3)} ms with a read pending`,
    };
  } finally {
    if (typeof pair !== "number") for (const fd of pair) close(fd);
    ring.close();
  }
}

function refused(what: string, errno: number): Revocation {
  return { works: false, errno, detail: `${what} (${errnoText(errno)})` };
}

/** Milliseconds from the drop to its tag, or what went wrong; -ENOMEM if nothing could be registered. */
function timeRevoke(ring: Ring, buffers: RegisteredBuffers, address: number, nowMs: () => number): number | string {
  const taken = buffers.take(0, address, LARGEST_PAGE_BYTES);
  if (taken === -ENOMEM) return taken;
  if (taken < 0) return `no registration (errno ${-taken})`;
  const begin = nowMs();
  const dropped = buffers.drop(0);
  if (dropped < 0) return `no update (errno ${-dropped})`;
  let released = false;
  for (;;) {
    const { completions, cqes } = ring;
    for (let i = 0; i < completions; i++) {
      const at = ring.completionAt(i);
      if (cqes[at] === 0 && cqes[at + 1] === TAG) released = true;
    }
    ring.consume(completions);
    const tookMs = nowMs() - begin;
    if (released) return tookMs;
    if (tookMs > LIMIT_MS) return `a registration wasn't released within ${LIMIT_MS} ms`;
    const entered = ring.enter(IO_URING.IORING_ENTER_GETEVENTS);
    if (entered < 0 && entered !== -EINTR) return `io_uring_enter failed (errno ${-entered})`;
  }
}

/** Starts a read on a socket that never gets any bytes. It ends when the ring is closed. */
function readWithoutEnd(ring: Ring, fd: number, address: number): void {
  const at = ring.next();
  ring.sqes.fill(0, at, at + SQE.size / 4);
  ring.sqes[at] = IO_URING.IORING_OP_READ_FIXED;
  ring.sqes[at + SQE.fields.fd / 4] = fd;
  new BigUint64Array(ring.sqes.buffer, at * 4 + SQE.fields.addr, 1)[0] = BigInt(address);
  ring.sqes[at + SQE.fields.len / 4] = LARGEST_PAGE_BYTES;
  ring.sqes[at + SQE.fields.user_data / 4 + 1] = PENDING_READ;
  ring.sqes[at + SQE.fields.buf_index / 4] = 1;
  ring.enter(0);
}
