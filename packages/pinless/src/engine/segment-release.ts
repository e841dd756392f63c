/** Release of an arena's memory: waits for all that uses it. */

import type { CallsInFlight } from "../files/calls-in-flight.js";
import { EFAULT } from "../protocol/errno.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { Segment } from "../protocol/segment.js";
import type { MemoryOperations } from "./memory-operations.js";

/** The engine as the release of an arena's memory sees it. */
export interface ReleaseHost {
  readonly protocol: Protocol;
  readonly callsInFlight: CallsInFlight;
  unfollow(segment: Segment): Promise<void>;
  abandon(segment: Segment): void;
}

export class SegmentRelease {
  readonly #host: ReleaseHost;
  readonly #changes: MemoryOperations;

  constructor(host: ReleaseHost, changes: MemoryOperations) {
    this.#host = host;
    this.#changes = changes;
  }

  /** Resolves once all calls, requests and operations on a range that were made before have ended. */
  async quiet(range: Range, also: { readonly streamCalls: boolean }): Promise<void> {
    const { callsInFlight, protocol } = this.#host;
    await new Promise<void>((resolve) => callsInFlight.whenQuiet(range, also, resolve));
    await new Promise<void>((resolve) => protocol.dispatcher.whenQuiet(range, resolve));
    await this.#changes.quiet(range);
  }

  /** Frees a segment's memory once nothing uses it. `ofFile` and `mayBeReadOnly` are as of `MemoryOperations.empty`. */
  async giveBack(segment: Segment, ofFile: boolean, mayBeReadOnly: boolean): Promise<void> {
    const { range } = segment;
    segment.closed = true;
    this.#host.callsInFlight.cancelStreamCalls(range, EFAULT);
    await this.quiet(range, { streamCalls: false });
    try {
      await this.#host.unfollow(segment);
      await this.#changes.invalidate(range, "UNMAP", () => this.#changes.empty(range, ofFile, mayBeReadOnly));
    } finally {
      this.#host.abandon(segment);
    }
  }
}
