/** Calls that use arena memory, on whatever path, from the call to its answer. `arena.free` waits for them. */

import { overlaps, type Range } from "../protocol/ranges/ranges.js";
import type { CancellableCall } from "./stream-call-limits.js";

export interface CallInFlight extends Range {
  /** The call, if it's on a pipe, a terminal or a socket and may never end by itself; otherwise null. */
  readonly cancellable: CancellableCall | null;
}

export class CallsInFlight {
  readonly #uses = new Set<CallInFlight>();
  readonly #waiting: { readonly left: Set<CallInFlight>; readonly run: () => void }[] = [];

  begin(use: CallInFlight): void {
    this.#uses.add(use);
  }

  end(use: CallInFlight): void {
    this.#uses.delete(use);
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const { left, run } = this.#waiting[i]!;
      if (!left.delete(use) || left.size > 0) continue;
      this.#waiting.splice(i, 1);
      run();
    }
  }

  /**
   * Calls `run` once every use of the range that is in flight now has ended, at once if there is none. `patient` also
   * waits for uses that may never end.
   */
  whenQuiet(range: Range, patient: boolean, run: () => void): void {
    const left = new Set<CallInFlight>();
    for (const use of this.#uses) if (overlaps(use, range) && (patient || use.cancellable === null)) left.add(use);
    if (left.size === 0) run();
    else this.#waiting.push({ left, run });
  }

  /** Ends the uses of a range that may never end by themselves, with this errno, since the memory is going away. */
  cancelStreamCalls(range: Range, errno: number): void {
    for (const use of this.#uses) if (overlaps(use, range)) use.cancellable?.end(errno);
  }
}
