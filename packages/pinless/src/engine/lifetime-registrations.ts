/** Baseline `pin: "lifetime"`: an arena's memory is registered when it's created, and pinned until it's closed. */

import type { DescribeErrno } from "../protocol/errors.js";
import type { BufferLocation, Registrations } from "../protocol/scheme.js";
import type { Segment } from "../protocol/segment.js";

/** Maximum size of a registration in the kernel (io_uring/rsrc.c). */
const MAX_REGISTRATION_BYTES = 2 ** 30;
/** Slots of the ring's buffer table in this mode. */
export const LIFETIME_SLOTS = 64;
export const OTHER_USER =
  "the process changed its user after the engine was opened, and the kernel would charge registrations to the old " +
  "one (open the engine afterwards)";

export class LifetimeRegistrations {
  readonly #registrations: Registrations | null;
  readonly #describe: DescribeErrno;
  readonly #degraded: string[];
  /** True for each buffer slot that is in use. */
  readonly #taken = new Array<boolean>(LIFETIME_SLOTS).fill(false);

  /** Adds a sentence with the reason to `degraded` for each arena that goes per-io instead. */
  constructor(registrations: Registrations | null, describe: DescribeErrno, degraded: string[]) {
    this.#registrations = registrations;
    this.#describe = describe;
    this.#degraded = degraded;
  }

  register(segment: Segment): void {
    const { start, end } = segment.range;
    const pieces = piecesOf(segment);
    const first = this.#taken.findIndex((_, i) => this.#taken.slice(i, i + pieces).every((used) => !used));
    const registrations = this.#registrations;
    if (registrations?.userChanged === true) {
      this.#degraded.push(`${OTHER_USER}: that arena goes per-io`);
      return;
    }
    if (registrations === null || first < 0 || first + pieces > LIFETIME_SLOTS) {
      this.#degraded.push("no buffer slot is left for a lifetime registration: that arena goes per-io");
      return;
    }
    for (let i = 0; i < pieces; i++) {
      const from = start + i * MAX_REGISTRATION_BYTES;
      const errno = registrations.take(first + i, from, Math.min(MAX_REGISTRATION_BYTES, end - from));
      if (errno < 0) {
        for (let back = 0; back < i; back++) this.#drop(first + back);
        this.#degraded.push(
          `a lifetime registration was refused with ${this.#describe(errno)[0]}: that arena goes per-io`,
        );
        return;
      }
      this.#taken[first + i] = true;
    }
    segment.registeredSlot = first;
  }

  unregister(segment: Segment): void {
    if (segment.registeredSlot < 0) return;
    for (let i = 0; i < piecesOf(segment); i++) this.#drop(segment.registeredSlot + i);
    segment.registeredSlot = -1;
  }

  #drop(slot: number): void {
    this.#registrations?.drop(slot);
    this.#taken[slot] = false;
  }
}

/** Buffer slot of the lifetime registration that contains a request's memory, or -1. */
export function lifetimeSlot(segment: Segment | undefined, { address, bytes }: BufferLocation): number {
  if (segment === undefined || segment.registeredSlot < 0) return -1;
  const offset = address - segment.range.start;
  const piece = Math.floor(offset / MAX_REGISTRATION_BYTES);
  return Math.floor((offset + bytes - 1) / MAX_REGISTRATION_BYTES) === piece ? segment.registeredSlot + piece : -1;
}

/** Number of buffer slots that a segment needs. */
function piecesOf({ range }: Segment): number {
  return Math.ceil((range.end - range.start) / MAX_REGISTRATION_BYTES);
}
