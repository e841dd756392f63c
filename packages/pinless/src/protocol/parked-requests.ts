/**
 * Requests that wait for memory: for an invalidation to end, or for what the monitor has announced to be over. Both may take as long as
 * they like, so a request that waits holds nothing that others need: it has no slot, and isn't its file's turn. It has both again before it
 * goes, and is counted among what its chunks hold until then (BOUNDED_HOLD).
 */

import type { Done, Owner } from "./acceptance.js";
import type { RequestPlace } from "./scheme.js";
import type { StateWords } from "./state-words.js";

/** All that there is to a request without a slot. */
export interface Parked {
  readonly write: boolean;
  readonly file: number;
  readonly owner: Owner;
  /** Bits: DIRECT_WRITE and others of the dispatcher's. */
  readonly kind: number;
  readonly place: RequestPlace;
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

/** The same as a number of its place and flags, for whoever explores. */
export function putParked(
  to: StateWords,
  list: readonly Parked[],
  room: number,
  nameOf: (place: RequestPlace) => number,
): void {
  const words: number[] = [];
  for (const { place, cancelled, held, limited, slot } of list)
    words.push(nameOf(place) | (cancelled ? 256 : 0) | (held ? 512 : 0) | (limited ? 1024 : 0) | (slot << 11));
  to.putList(words, room);
}

export function takeParked(
  from: StateWords,
  into: Parked[],
  room: number,
  of: (name: number) => Pick<Parked, "write" | "file" | "owner" | "kind" | "place" | "position" | "done">,
): void {
  const words: number[] = [];
  from.takeList(words, room);
  into.length = 0;
  for (const word of words) {
    const flags = { cancelled: (word & 256) !== 0, held: (word & 512) !== 0, limited: (word & 1024) !== 0 };
    into.push({ ...of(word & 255), ...flags, slot: word >> 11 });
  }
}
