/**
 * How long a memory operation goes on asking. Right after the last completion of unregistered I/O the kernel may hold its pages for some
 * milliseconds more (seen: 9.4 ms), so EAGAIN and EBUSY are tried again for 20 ms.
 */

import { ERRNO } from "../abi/numbers.js";

const PATIENCE_MS = 20;
const FIRST_WAIT_MS = 0.2;

/** Tries again while the kernel says that somebody still holds a page. */
export function persistently(operate: (patience: { renew(): void }) => number): number {
  let begin = performance.now();
  let waitMs = FIRST_WAIT_MS;
  const patience = {
    renew(): void {
      begin = performance.now();
      waitMs = FIRST_WAIT_MS;
    },
  };
  for (;;) {
    const result = operate(patience);
    if (result !== -ERRNO.EAGAIN && result !== -ERRNO.EBUSY) return result;
    if (performance.now() - begin + waitMs > PATIENCE_MS) return result;
    Atomics.wait(pause, 0, 0, waitMs);
    waitMs *= 2;
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4));
