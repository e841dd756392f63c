/** The engine as its files and their transfers see it. */

import type { Memory } from "../ports/memory.js";
import type { DescribeErrno } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Loop, Scheme } from "../protocol/scheme.js";
import type { Segment } from "../protocol/segment.js";
import type { CallsInFlight } from "./calls-in-flight.js";
import type { Mounts } from "./mount-options.js";
import type { StagingMemory } from "./staging-memory.js";
import type { StreamCallLimits } from "./stream-call-limits.js";
import type { WaitObserver } from "./wait-observer.js";
import type { WriteOrders } from "./write-ordering.js";

/** The queue of submissions as files see it. */
interface Submissions {
  /** True if a request would be accepted now without overtaking one that waits. */
  readonly hasRoom: boolean;
  /** True if a submission would overtake a call that waits, which is then notified. */
  readonly wouldOvertake: boolean;
  /** Runs `attempt` when requests end, in the order of the calls, until it answers true. */
  enqueue(attempt: () => boolean): void;
  /**
   * Accepts a submission that can't take the hot path; false means busy. `willWait`: its memory is closed by a memory
   * operation, so that it will have to wait.
   */
  beginIndirect(willWait: boolean): boolean;
  endIndirect(): void;
  /** Notified when such a submission begins and ends waiting for memory. */
  readonly memoryWaits: WaitObserver;
}

export interface TransferHost {
  readonly protocol: Protocol;
  readonly scheme: Scheme;
  readonly loop: Pick<Loop, "after" | "soon" | "uncaught">;
  readonly staging: StagingMemory;
  /** Staging memory that grows, for calls that wait for memory: they must not use up the shared staging memory. */
  readonly spareStaging: StagingMemory;
  readonly writeOrders: WriteOrders;
  readonly mounts: Mounts;
  /** Limits on calls that may never end by themselves. */
  readonly streamCalls: StreamCallLimits;
  readonly describe: DescribeErrno;
  /** Finds the arena segment of a buffer, or null. */
  segmentOf(buffer: ArrayBufferLike): Segment | null;
  readonly submissions: Submissions;
  counted(what: "bounced" | "buffered"): void;
  /** Adds a sentence to `stats().degraded`, once each. */
  degraded(why: string): void;
}

/** An open file as its engine sees it. */
export interface OpenFile {
  /** Closes the file with its engine. */
  end(): Promise<void>;
}

/** The engine as a file sees it. */
export interface FileHost extends TransferHost {
  /** Memory for reading ahead and writing behind. */
  readonly blocks: StagingMemory;
  /** Files that are open or closing. */
  readonly files: Set<OpenFile>;
  /** Threads for calls that may wait for a device. */
  readonly memory: Pick<Memory, "run">;
  /** Calls that use arena memory. */
  readonly callsInFlight: CallsInFlight;
}
