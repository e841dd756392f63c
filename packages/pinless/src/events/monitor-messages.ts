/** Messages between the engine's thread and the monitor. */

import type { FollowedSegment, MonitorReport } from "../protocol/monitor/messages.js";
import type { Range } from "../protocol/ranges/ranges.js";

/** Data given to the monitor at its start. */
export interface MonitorData {
  /** Word that says if the thread has loaded the FFI (linux/ffi-startup.ts). */
  readonly loading: Int32Array;
  /** Drain word (protocol/monitor/messages.ts). */
  readonly drain: Int32Array;
  /** Reading word (protocol/monitor/deferred-changes.ts). */
  readonly reading: Int32Array;
  /** Id of the thread that runs the engines. */
  readonly ownTid: number;
  /** Ids of our own memory threads; 0 means a free entry. */
  readonly ourTids: Int32Array;
}

export type ToMonitor =
  | { readonly kind: "watch"; readonly id: number; readonly leases: Int32Array; readonly ringFd: number }
  | { readonly kind: "unwatch"; readonly id: number }
  /** The first lease was taken. */
  | { readonly kind: "wake" }
  | FollowMessage
  /** Nothing is followed any more, and no lease is held. */
  | { readonly kind: "end" }
  | UnfollowMessage;

export interface UnfollowMessage {
  readonly kind: "unfollow";
  readonly id: number;
  /** Ranges of the segment that are still mapped. */
  readonly pieces: readonly Range[];
}

export interface FollowMessage extends FollowedSegment {
  readonly kind: "follow";
}

export type FromMonitor =
  | { readonly kind: "ready" }
  /** Answer to `follow` and `unfollow`: 0, or -errno. */
  | { readonly kind: "answer"; readonly id: number; readonly errno: number }
  | MonitorReport;
