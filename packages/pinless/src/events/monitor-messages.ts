/** What the engine's thread and the monitor's say to each other. */

import type { FollowedSegment, MonitorReport } from "../protocol/monitor/messages.js";
import type { Range } from "../protocol/ranges/ranges.js";

/** Handed to the monitor when it starts. */
export interface MonitorData {
  /** See linux/loading.ts. */
  readonly loading: Int32Array;
  /** The word by which the engine's thread says how a start stands (core/monitor-messages.ts). */
  readonly drain: Int32Array;
  /** See core/announcements.ts. */
  readonly reading: Int32Array;
  /** Of the thread whose engines these are. */
  readonly ownTid: number;
  /** Threads whose calls on memory are ours; 0: none yet. */
  readonly ourTids: Int32Array;
}

export type ToMonitor =
  | { readonly kind: "watch"; readonly id: number; readonly leases: Int32Array; readonly ringFd: number }
  | { readonly kind: "unwatch"; readonly id: number }
  /** A lease was taken while none was held. */
  | { readonly kind: "wake" }
  | FollowMessage
  /** Nobody's memory is followed any more, and no lease is held. */
  | { readonly kind: "end" }
  | { readonly kind: "unfollow"; readonly id: number; readonly pieces: readonly Range[] };

export interface FollowMessage extends FollowedSegment {
  readonly kind: "follow";
}

export type FromMonitor =
  | { readonly kind: "ready" }
  /** The answer to `follow` and `unfollow`: 0, or -errno. */
  | { readonly kind: "answer"; readonly id: number; readonly errno: number }
  | MonitorReport;
