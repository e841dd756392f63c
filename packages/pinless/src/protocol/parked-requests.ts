/**
 * Requests that wait for memory: for an invalidation to end, or for what the monitor has announced to be over. Both may take as long as
 * they like, so a request that waits holds nothing that others need: it has no slot, and isn't its file's turn. It has both again before it
 * goes, and is counted among what its chunks hold until then (BOUNDED_HOLD).
 */

import type { Done, Owner } from "./acceptance.js";
import type { BufferLocation } from "./scheme.js";

/** All that there is to a request without a slot. */
export interface Parked {
  readonly write: boolean;
  readonly file: number;
  readonly owner: Owner;
  /** Bits: DIRECT_WRITE and others of the dispatcher's. */
  readonly kind: number;
  readonly location: BufferLocation;
  readonly position: number;
  readonly done: Done;
  /** The slot that it had, and has again if that's free: so its number is the same in every order that is explored. */
  readonly slot: number;
  /** It's one of those of which only so many may wait. */
  readonly limited: boolean;
  cancelled: boolean;
  /** It's counted in the HELD words of its chunks. */
  held: boolean;
}
