/** How a request is asked for, and what is said to that. */

/**
 * Callback of {@link File.submit}. `errno` is 0 or negative, as Node's; `bytes` were transferred; `buffer` is the one
 * that was handed over.
 */
export type Done = (errno: number, bytes: number, buffer: ArrayBufferView) => void;

/** Who a request belongs to (a file); counts what is in flight. */
export interface Owner {
  /** Requests between acceptance and completion. */
  active: number;
  /** Of these, writes that go around the page cache; but not those that wait for memory. */
  directWrites: number;
  /** Called, if set, when one of the counts has come down to 0. */
  quiet: (() => void) | null;
  /** Where requests go that are refused on their way around the page cache. */
  readonly instead?: Instead;
  /** A direct write that has waited for memory: calls `go` when the file may be written around the page cache, now or later. */
  readonly turn?: (go: () => void) => void;
}

/** A filesystem may take O_DIRECT when a file is opened, and refuse what is asked of it then. */
export interface Instead {
  /** The handle to go by instead of this one, or -1. */
  handleFor(file: number): number;
  /** A request has gone by it, and wasn't refused there. */
  taken(errno: number): void;
}

/** Kinds of requests, a bit each: writes around the page cache; and requests that were refused there, with EINVAL or with EOPNOTSUPP. */
export const DIRECT_WRITE = 1;
export const REFUSED_INVALID = 2;
export const REFUSED_UNSUPPORTED = 4;

/** How long a request may wait for memory: as long as it takes; the same, but only so many may; or not at all. */
export const WAITS = 0;
export const FEW_WAIT = 1;
export const NEVER_WAITS = 2;
export type Patience = typeof WAITS | typeof FEW_WAIT | typeof NEVER_WAITS;

/** What `accept` says. BUSY: there's no slot, or too many wait for memory. SHUT: it would have to wait for memory, and must not. */
export const BUSY = 0;
export const QUEUED = 1;
export const SHUT = 2;
export type Answer = typeof BUSY | typeof QUEUED | typeof SHUT;
