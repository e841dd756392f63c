/**
 * How long a memory operation goes on asking. Right after the last completion of unregistered I/O the kernel may hold its pages for some
 * milliseconds more (seen: 9.4 ms), so EAGAIN and EBUSY are tried again for 20 ms, and at least so many times: a thread that isn't given
 * the processor for so long has seen nothing of those milliseconds.
 */

import { ERRNO } from "../abi/numbers.js";

const PATIENCE_MS = 20;
const LEAST_TRIES = 7;
const FIRST_WAIT_MS = 0.2;

/** Tries again while the kernel says that somebody still holds a page. */
export function persistently(
  operate: (patience: { renew(): void }) => number,
  nowMs = () => performance.now(),
): number {
  let begin = nowMs();
  let tries = 0;
  let waitMs = FIRST_WAIT_MS;
  const patience = {
    renew(): void {
      begin = nowMs();
      tries = 0;
      waitMs = FIRST_WAIT_MS;
    },
  };
  for (;;) {
    tries++;
    const result = operate(patience);
    if (result !== -ERRNO.EAGAIN && result !== -ERRNO.EBUSY) return result;
    if (tries >= LEAST_TRIES && nowMs() - begin + waitMs > PATIENCE_MS) return result;
    Atomics.wait(pause, 0, 0, waitMs);
    waitMs = Math.min(2 * waitMs, PATIENCE_MS / 2);
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
