/**
 * Reports when a descriptor is readable without reading it, which Node has no API for: by a ring, by Linux AIO, or,
 * where both are forbidden, by waiting in slices. They poll an epoll that contains the descriptor, because a pending
 * poll holds a reference to the file that it polls: when a worker ended with an AIO poll pending on a userfaultfd
 * itself, closing that didn't wake its waiting callers, and the next madvise hung for ever.
 */

import { IOCB } from "../abi/layouts.js";
import { AIO, EPOLL, POLL } from "../abi/numbers.js";
import { AioContext } from "./aio-context.js";
import { EventWake } from "./event-wake.js";
import { close, EPOLL_EVENT_BYTES, epollControl, epollCreate, epollWait } from "./libc.js";
import { setImmediate } from "./originals.js";
import { whyNoSocket } from "./runtime.js";
import { closeAtTeardown } from "./teardown.js";
import { Wake } from "./wake.js";

/** Length of a slice: a worker can't be terminated while it waits in one. */
const SLICE_MS = 10;

/** Arms a single notification: `readable` is called once, at once or later. */
export type Arm = () => void;

/** Opens a notifier for the descriptor; -errno on failure. */
export function openReadiness(fd: number, readable: () => void): Arm | number {
  const epoll = epollCreate(EPOLL.EPOLL_CLOEXEC);
  if (epoll < 0) return epoll;
  const event = new Uint8Array(EPOLL_EVENT_BYTES);
  event[0] = EPOLL.EPOLLIN;
  const added = epollControl(epoll, EPOLL.EPOLL_CTL_ADD, fd, event);
  if (added < 0) {
    close(epoll);
    return added;
  }
  closeAtTeardown(epoll);
  // Both wake the loop through a socket.
  for (const open of whyNoSocket() === null ? [byRing, byAio] : []) {
    const arm = open(epoll, readable);
    if (arm !== null) return arm;
  }
  return bySlices(epoll, readable);
}

function byRing(epoll: number, readable: () => void): Arm | null {
  const wake = Wake.open(epoll, readable);
  if (typeof wake === "number") return null;
  wake.keepAlive(true);
  const arm = (): void => {
    if (!wake.arm()) setImmediate(arm);
  };
  return arm;
}

function byAio(epoll: number, readable: () => void): Arm | null {
  const context = AioContext.open({ depth: 1 });
  if (typeof context === "number") return null;
  const wake = EventWake.open(() => {
    const { completions } = context;
    if (completions === 0) return;
    context.consume(completions);
    readable();
  });
  if (typeof wake === "number") {
    context.close();
    return null;
  }
  wake.keepAlive(true);
  const poll = (): number => {
    const at = context.next(0);
    const { iocbs } = context;
    iocbs.fill(0, at, at + IOCB.size / 4);
    iocbs[at + IOCB.fields.aio_lio_opcode / 4] = AIO.IOCB_CMD_POLL;
    iocbs[at + IOCB.fields.aio_fildes / 4] = epoll;
    iocbs[at + IOCB.fields.aio_buf / 4] = POLL.POLLIN;
    iocbs[at + IOCB.fields.aio_flags / 4] = AIO.IOCB_FLAG_RESFD;
    iocbs[at + IOCB.fields.aio_resfd / 4] = wake.fd;
    return context.submit();
  };
  return () => {
    // AIO polls from Linux 4.18 on; older kernels don't have the events that this is for.
    if (poll() !== 1) throw new Error("Linux AIO took no poll");
  };
}

function bySlices(epoll: number, readable: () => void): Arm {
  let armed = false;
  const slice = (): void => {
    if (armed && epollWait(epoll, SLICE_MS) > 0) {
      armed = false;
      readable();
    }
    setImmediate(slice);
  };
  setImmediate(slice);
  return () => {
    armed = true;
  };
}
