/**
 * A poll of the event loop's own epoll descriptor by the ring: where the loop has a socket to serve, it ends a wait for
 * completions. It's armed once, and again after it has fired.
 */

import { SQE } from "../../abi/layouts.js";
import { IO_URING, POLL } from "../../abi/numbers.js";
import { loopDescriptor } from "../../linux/loop-descriptor.js";
import type { Ring } from "../../linux/ring.js";

export class LoopPoll {
  readonly #ring: Ring;
  readonly #socket: number;
  readonly #kinds: { readonly last: number; readonly others: number };
  readonly #completions: number;
  #descriptor = -1;
  #occasions = 0;
  #armed = false;
  /** True if the loop has had something to serve since the last wait began. */
  hasFired = false;

  /**
   * `socket`: one that the loop polls; `completions`: most that a wait awaits, so that the poll posts as many; `kinds`:
   * the upper halves of their `user_data`.
   */
  constructor(ring: Ring, socket: number, completions: number, kinds: { last: number; others: number }) {
    this.#ring = ring;
    this.#socket = socket;
    this.#kinds = kinds;
    this.#completions = completions;
  }

  /**
   * True if the loop's descriptor is known. It's searched for ever more rarely, because a new socket isn't polled yet,
   * and a lack of descriptors may pass.
   */
  isKnown(): boolean {
    if (this.#descriptor >= 0) return true;
    const isPowerOfTwo = (++this.#occasions & (this.#occasions - 1)) === 0;
    if (isPowerOfTwo) this.#descriptor = loopDescriptor(this.#socket);
    return this.#descriptor >= 0;
  }

  /** Prepares the poll, to go with the next call. False: the ring has no room for it. */
  arm(): boolean {
    if (this.#armed) return true;
    const ring = this.#ring;
    if (ring.unsubmitted + this.#completions > ring.sqEntries) return false;
    // NOPs follow the poll, linked, as the rest of the completions that a wait may await.
    for (let left = this.#completions; left > 0; left--) {
      const at = ring.next();
      const isPoll = left === this.#completions;
      ring.sqes.fill(0, at, at + SQE.size / 4);
      ring.sqes[at] = isPoll ? IO_URING.IORING_OP_POLL_ADD : IO_URING.IORING_OP_NOP;
      if (left > 1) ring.sqes[at]! |= IO_URING.IOSQE_IO_HARDLINK << 8;
      ring.sqes[at + SQE.fields.fd / 4] = isPoll ? this.#descriptor : -1;
      ring.sqes[at + SQE.fields.poll32_events / 4] = isPoll ? POLL.POLLIN : 0;
      ring.sqes[at + SQE.fields.user_data / 4 + 1] = left > 1 ? this.#kinds.others : this.#kinds.last;
    }
    this.#armed = true;
    return true;
  }

  fired(): void {
    this.#armed = false;
    this.hasFired = true;
  }
}
