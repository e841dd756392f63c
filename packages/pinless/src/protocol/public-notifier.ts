/**
 * Public interfaces of the notifier and its invalidations, without the members that notifier.ts has for the protocol.
 */

import type { MmuEvent } from "./events.js";
import type { Range } from "./ranges/ranges.js";

/** Options of {@link MmuNotifier.invalidateRangeStart}. */
export interface StartOptions {
  /**
   * True if the invalidation may wait. Otherwise it begins at once or is refused.
   *
   * @defaultValue true
   */
  readonly blockable?: boolean;
  /**
   * Called once when the invalidation has begun: inside `invalidateRangeStart`, or later. An error that it throws is an
   * uncaught exception, and doesn't end the invalidation.
   */
  readonly ready?: () => void;
}

/** Part of memory whose protection was changed during a PROTECTION_VMA. */
export interface Protection {
  /** Addresses of the part. */
  readonly range: Range;
  /** True if it's read-only now. */
  readonly readOnly: boolean;
}

/** One invalidation, from its start to its end. */
export interface Invalidation {
  /** Kind of the invalidation. */
  readonly event: MmuEvent;
  /** Its addresses, rounded out to whole chunks. */
  readonly range: Range;
  /** waiting: for its turn; draining: for I/O in flight; begun: the caller may change the range. */
  readonly state: "waiting" | "draining" | "begun" | "ended";
}

/**
 * Notifier of changes to memory that the engine can't detect (`mprotect`, guard pages). While an invalidation is begun,
 * no I/O that its event excludes is in flight on the range, and leases there are dropped. Invalidations of the same
 * range take turns in the order of their starts. I/O that one of them held is submitted before the next begins.
 *
 * @example
 * ```ts
 * const invalidation = await new Promise<Invalidation>((resolve) => {
 *   const asked = engine.notifier.invalidateRangeStart({ start, end }, "CLEAR", {
 *     ready: () => queueMicrotask(() => resolve(asked)),
 *   });
 * });
 * // Change the memory from address `start` to `end` here.
 * engine.notifier.invalidateRangeEnd(invalidation);
 * ```
 */
export interface MmuNotifier {
  /** Number of invalidations that are begun or draining. */
  readonly inProgress: number;
  /**
   * Starts an invalidation of a range. Each one that it returns needs an `invalidateRangeEnd`.
   *
   * @param range - Addresses, from `start` up to, not including, `end`; rounded out to whole chunks
   * @param event - Kind of the change; it decides which I/O waits
   * @param options - `ready` is called when the invalidation has begun
   * @returns The invalidation, which may have begun (`state`). With `blockable: false` it can be `"EAGAIN"`: then
   *   nothing has changed, and no end is needed
   * @throws `ERR_OUT_OF_RANGE`, `ERR_INVALID_ARG_VALUE` or `ERR_INVALID_ARG_TYPE` for invalid arguments; nothing has
   *   changed then
   */
  invalidateRangeStart(
    range: Range,
    event: MmuEvent,
    options: StartOptions & { blockable: false },
  ): Invalidation | "EAGAIN";
  /** Starts an invalidation that may wait for its turn. */
  invalidateRangeStart(range: Range, event: MmuEvent, options?: StartOptions): Invalidation;
  /**
   * Ends an invalidation: the I/O that it held is submitted first, then the next invalidation gets its turn.
   *
   * @param invalidation - An invalidation that has begun
   * @param protections - For PROTECTION_VMA: the parts whose protection was changed. Default: all of the range is
   *   read-only
   * @throws `ERR_INVALID_ARG_VALUE` for an invalidation that hasn't begun, or has ended; `ERR_INVALID_ARG_TYPE` for any
   *   other value
   */
  invalidateRangeEnd(invalidation: Invalidation, protections?: readonly Protection[]): void;
}
