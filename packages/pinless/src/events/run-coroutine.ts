/** Runs a coroutine on this thread, which sleeps where the coroutine waits. */

import type { Steps } from "../protocol/monitor/coroutine.js";

const nobodyWrites = new Int32Array(new SharedArrayBuffer(4));

export function sleep(ms: number): void {
  Atomics.wait(nobodyWrites, 0, 0, ms);
}

/** `word` is the word that steps may wait for. */
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
