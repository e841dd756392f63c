/**
 * Notifier and invalidations as programs see them: what the classes of notifier.ts have for the protocol isn't here.
 */

import type { MmuEvent } from "./events.js";
import type { Range } from "./ranges/ranges.js";

/** Options of {@link MmuNotifier.invalidateRangeStart}. */
export interface StartOptions {
  /**
   * Lets the invalidation wait. One that may not either begins at once or is refused.
   *
   * @defaultValue true
   */
  readonly blockable?: boolean;
  /**
   * Called once when the invalidation has begun: inside `invalidateRangeStart`, or later. What it throws is an uncaught
   * exception; the range stays the caller's.
   */
  readonly ready?: () => void;
}

/** Part of memory whose protection a PROTECTION_VMA changed. */
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
  /** Addresses that it is about, rounded out to whole chunks. */
  readonly range: Range;
  /** waiting: for its turn; draining: I/O in flight; begun: the range is the caller's. */
  readonly state: "waiting" | "draining" | "begun" | "ended";
}

/**
 * Announcement of changes to memory that nobody notices by itself (`mprotect`, guard pages): from an invalidation's
 * start to its end no I/O that its event concerns is in flight on the range, and leases there are gone. Invalidations
 * of the same range take turns in the order in which they were asked for. I/O that one of them held goes before the
 * next.
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
  /** Number of invalidations that have the turn on their range: begun, or draining. */
  readonly inProgress: number;
  /**
   * Asks for a range. Every invalidation that it gives needs its `invalidateRangeEnd`.
   *
   * @param range - Addresses, from `start` up to, not including, `end`; rounded out to whole chunks
   * @param event - Kind of the change; it decides which I/O waits
   * @param options - `ready` is called when the range is the caller's
   * @returns The invalidation, begun if its `state` is `"begun"`; with `blockable: false` maybe `"EAGAIN"`: then
   *   nothing has changed, and there is no end to call
   * @throws `ERR_OUT_OF_RANGE`, `ERR_INVALID_ARG_VALUE` or `ERR_INVALID_ARG_TYPE` for arguments that can't be right;
   *   nothing was taken then
   */
  invalidateRangeStart(
    range: Range,
    event: MmuEvent,
    options: StartOptions & { blockable: false },
  ): Invalidation | "EAGAIN";
  /** Asks for a range as above, and waits for its turn. */
  invalidateRangeStart(range: Range, event: MmuEvent, options?: StartOptions): Invalidation;
  /**
   * Gives the range back: the I/O that it held goes ahead first, then the next invalidation.
   *
   * @param invalidation - One that has begun
   * @param protections - After PROTECTION_VMA: what was changed, to the page. Left out, all of the range is read-only
   * @throws `ERR_INVALID_ARG_VALUE` for an invalidation that hasn't begun, or has ended; `ERR_INVALID_ARG_TYPE` for a
   *   value that is none
   */
  invalidateRangeEnd(invalidation: Invalidation, protections?: readonly Protection[]): void;
}
