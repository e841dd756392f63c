/**
 * Limits on retries of a memory operation. For some milliseconds after the last completion of unregistered I/O, the
 * kernel may still hold its pages (seen: 9.4 ms). So EAGAIN and EBUSY are retried for 20 ms, and for a minimum number
 * of times, in case this thread wasn't scheduled for that long.
 */

import { EAGAIN, EBUSY } from "../protocol/errno.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";

const PATIENCE_MS = 20;
const LEAST_TRIES = 7;
const FIRST_WAIT_MS = 0.2;

/** Retries a call while the kernel reports that a page is still held. */
export function* persistently(
  kernel: Pick<MemoryKernel, "nowMs" | "sleep">,
  operate: (patience: { renew(): void }) => Steps<number>,
): Steps<number> {
  let begin = kernel.nowMs();
  let tries = 0;
  let waitMs = FIRST_WAIT_MS;
  const patience = {
    renew(): void {
      begin = kernel.nowMs();
      tries = 0;
      waitMs = FIRST_WAIT_MS;
    },
  };
  for (;;) {
    tries++;
    const result = yield* operate(patience);
    if (result !== -EAGAIN && result !== -EBUSY) return result;
    if (tries >= LEAST_TRIES && kernel.nowMs() - begin + waitMs > PATIENCE_MS) return result;
    yield* kernel.sleep(waitMs);
    waitMs = Math.min(2 * waitMs, PATIENCE_MS / 2);
  }
}
