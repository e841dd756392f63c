// A made-up clock for the retries of memory operations: nothing really sleeps.
import type { Steps } from "../../dist/memory/memory-kernel.js";

/** A call that returns at once. */
// biome-ignore lint/correctness/useYield: it doesn't block
export function* at<Result>(result: Result): Steps<Result> {
  return result;
}

export class VirtualPatience {
  now = 0;

  nowMs(): number {
    return this.now;
  }

  *sleep(ms: number): Steps<void> {
    this.now += ms;
    return yield* at(undefined);
  }
}
