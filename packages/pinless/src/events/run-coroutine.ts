/** Runs programs that are told in steps, on this thread: it sleeps where they do. */

import type { Steps } from "../protocol/monitor/coroutine.js";

const nobodyWrites = new Int32Array(new SharedArrayBuffer(4));

export function sleep(ms: number): void {
  Atomics.wait(nobodyWrites, 0, 0, ms);
}

/** `word`: the one that steps may wait for. */
export function perform<T>(steps: Steps<T>, word: Int32Array): T {
  for (;;) {
    const next = steps.next();
    if (next.done === true) return next.value;
    const { ms, whileWord } = next.value;
    if (ms === 0) continue;
    if (whileWord === null) sleep(ms);
    else Atomics.wait(word, 0, whileWord, ms);
  }
}
