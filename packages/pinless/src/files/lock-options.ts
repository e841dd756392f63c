/** A lock on a part of a file, and the options of `file.lock()`. */

import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { checkNumber, signalOf } from "./many-arguments.js";

/** Options of {@link File.lock}. */
export interface LockOptions {
  /**
   * Excludes all other locks; otherwise only exclusive ones.
   *
   * @defaultValue true
   */
  exclusive?: boolean | undefined;
  /**
   * Offset in the file of the first byte.
   *
   * @defaultValue 0
   */
  start?: number | undefined;
  /**
   * Bytes, at least 1.
   *
   * @defaultValue all from `start` on, however long the file gets
   */
  length?: number | undefined;
  /**
   * Tries again until the lock is free: first after 1 ms, in the end every 32 ms. Those who wait have no order.
   *
   * @defaultValue false: the call fails with EAGAIN
   */
  wait?: boolean | undefined;
  /** Ends the wait with an AbortError when it's aborted. */
  signal?: AbortSignal | undefined;
}

/** A lock on a part of a file, from {@link File.lock} until `unlock` or until the file is closed. */
export class FileLock {
  readonly #unlock: () => Promise<void>;

  /** @internal */
  constructor(unlock: () => Promise<void>) {
    this.#unlock = unlock;
  }

  /** Unlocks all but what later locks of the same File have taken over. Does nothing when called again. */
  unlock(): Promise<void> {
    return this.#unlock();
  }

  /** Unlocks, at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.unlock();
  }
}

interface CheckedLock {
  readonly kind: "shared" | "exclusive";
  readonly range: Range;
  readonly wait: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Checks the options of `lock`, and fills in their defaults. */
export function lockOptionsOf(options: LockOptions): CheckedLock {
  checkOptions("lock", options, ["exclusive", "start", "length", "wait", "signal"]);
  const { exclusive = true, start = 0, length = Number.POSITIVE_INFINITY, wait = false } = options;
  checkBoolean("exclusive", exclusive);
  checkBoolean("wait", wait);
  checkNumber("start", start, 0, Number.MAX_SAFE_INTEGER);
  if (length !== Number.POSITIVE_INFINITY) checkNumber("length", length, 1, Number.MAX_SAFE_INTEGER - start);
  return {
    kind: exclusive ? "exclusive" : "shared",
    range: { start, end: start + length },
    wait,
    signal: signalOf(options),
  };
}
