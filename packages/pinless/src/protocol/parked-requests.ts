/**
 * Parked requests: each waits for the end of an invalidation, or of a change that the monitor has announced, which may
 * take any time. So it holds no resource that another request needs: it has no slot, and gives up its file's turn to
 * write. It gets both back before it's submitted, and counts in its chunks' HELD words until then (BOUNDED_HOLD).
 */

import type { Done, Owner } from "./acceptance.js";
import type { Direction } from "./direction.js";
import type { BufferLocation } from "./scheme.js";

/** Receiver of what happens to held requests, for traces. It changes nothing. */
export interface HeldObserver {
  held(parked: Parked): void;
  letGo(parked: Parked): void;
}

/** A request without a slot. */
export interface Parked {
  readonly direction: Direction;
  readonly file: number;
  readonly how: number;
  readonly owner: Owner;
  /** Bits: DIRECT_WRITE, REFUSED_INVALID, REFUSED_UNSUPPORTED. */
  readonly kind: number;
  readonly location: BufferLocation;
  readonly position: number;
  readonly done: Done;
  /** Its last slot. It gets the same one again if that's free, so that explored orders reach fewer different states. */
  readonly slot: number;
  /** True for FEW_WAIT: the number of such requests is limited. */
  readonly limited: boolean;
  cancelled: boolean;
  /** True while the request is counted in the HELD words of its chunks. */
  held: boolean;
}
