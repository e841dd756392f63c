/** Acceptance of a request: its owner, its wait policy, and the dispatcher's answer. */

/**
 * Callback of {@link File.submit}. `errno` is 0 or negative, as Node's; `bytes` is the number of bytes transferred;
 * `buffer` is the buffer that was submitted.
 */
export type Done = (errno: number, bytes: number, buffer: ArrayBufferView) => void;

/** Owner of requests (a file), with counts of those in flight. */
export interface Owner {
  /** Requests between acceptance and completion. */
  active: number;
  /** Direct writes in flight, without those that wait for memory. */
  directWrites: number;
  /** Called when one of the counts becomes 0; null if no call waits for that. */
  becameIdle: (() => void) | null;
  /** Other path for direct requests that the filesystem refuses. */
  readonly fallback?: FallbackPath;
  /**
   * Calls `go` once the file may be written directly, now or later: for a direct write that has waited for memory.
   */
  readonly enter?: (go: () => void) => void;
}

/** Path for requests that a filesystem refuses although it accepted O_DIRECT when the file was opened. */
export interface FallbackPath {
  /** Returns the handle to use instead of this one, or -1. */
  handleFor(file: number): number;
  /** Notes that a request has succeeded on this path, after the direct one was refused with `errno`. */
  fellBack(errno: number): void;
}

/** Kinds of requests, a bit each: direct writes, and direct requests that were refused with EINVAL or EOPNOTSUPP. */
export const DIRECT_WRITE = 1;
export const REFUSED_INVALID = 2;
export const REFUSED_UNSUPPORTED = 4;

/**
 * Counting of a write among its owner's direct writes. A write is uncounted if its caller holds the file's turn to
 * write, or if it isn't direct.
 */
export const UNCOUNTED = 0;
export const COUNTED = 1;
export type Counting = typeof UNCOUNTED | typeof COUNTED;

/** Wait policy of a request: it always waits for memory operations; it waits unless too many do; or it never waits. */
export const WAITS = 0;
export const FEW_WAIT = 1;
export const NEVER_WAITS = 2;
export type WaitPolicy = typeof WAITS | typeof FEW_WAIT | typeof NEVER_WAITS;

/**
 * Answers of `accept`. BUSY: no slot is free, or too many requests wait for memory. WOULD_WAIT: the request would
 * have to wait for memory, and its wait policy forbids that.
 */
export const BUSY = 0;
export const QUEUED = 1;
export const WOULD_WAIT = 2;
export type Answer = typeof BUSY | typeof QUEUED | typeof WOULD_WAIT;
