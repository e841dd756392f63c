/** Calls that use arena memory, on whatever path, from the call to its answer. `arena.free` waits for them. */

import { overlaps, type Range } from "../protocol/ranges/ranges.js";
import type { CancellableCall } from "./stream-call-limits.js";

export interface CallInFlight extends Range {
  /** The call, if it's on a pipe, a terminal or a socket and may never end by itself; otherwise null. */
  readonly cancellable: CancellableCall | null;
}

export class CallsInFlight {
  readonly #calls = new Set<CallInFlight>();
  readonly #waiting: { readonly left: Set<CallInFlight>; readonly run: () => void }[] = [];

  begin(call: CallInFlight): void {
    this.#calls.add(call);
  }

  end(call: CallInFlight): void {
    this.#calls.delete(call);
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const { left, run } = this.#waiting[i]!;
      if (!left.delete(call) || left.size > 0) continue;
      this.#waiting.splice(i, 1);
      run();
    }
  }

  /**
   * Calls `run` once every call on the range that is in flight now has ended, at once if there is none. With
   * `streamCalls` it also waits for calls that may never end.
   */
  whenQuiet(range: Range, { streamCalls }: { readonly streamCalls: boolean }, run: () => void): void {
    const left = new Set<CallInFlight>();
    for (const call of this.#calls)
      if (overlaps(call, range) && (streamCalls || call.cancellable === null)) left.add(call);
    if (left.size === 0) run();
    else this.#waiting.push({ left, run });
  }

  /** Ends the calls on a range that may never end by themselves, with this errno, since the memory is going away. */
  cancelStreamCalls(range: Range, errno: number): void {
    for (const call of this.#calls) if (overlaps(call, range)) call.cancellable?.end(errno);
  }
}
