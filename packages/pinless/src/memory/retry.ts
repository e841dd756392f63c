/**
 * Limits on retries of a memory operation. For some milliseconds after the last completion of unregistered I/O, the
 * kernel may still hold its pages (seen: 9.4 ms). So EAGAIN and EBUSY are retried for 20 ms, and for a minimum number
 * of times, in case this thread wasn't scheduled for that long.
 */

import { ERRNO } from "../abi/numbers.js";

const PATIENCE_MS = 20;
const LEAST_TRIES = 7;
const FIRST_WAIT_MS = 0.2;

/** Retries a call while the kernel reports that a page is still held. */
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
