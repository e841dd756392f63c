/** What the engine's thread and the monitor say to each other. */

import type { Chunks } from "../core/announcements.js";
import type { Range } from "../core/ranges.js";

/** Handed to the monitor when it starts. */
export interface MonitorData {
  /** See linux/loading.ts. */
  readonly loading: Int32Array;
  /** The one word of `drain` below. */
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
  | { readonly kind: "unfollow"; readonly id: number; readonly pieces: readonly Range[] };

export interface FollowMessage {
  readonly kind: "follow";
  readonly id: number;
  readonly range: Range;
  readonly chunkBytes: number;
  readonly words: Int32Array;
  /** The watched leases that its chunks may have, or -1. */
  readonly watched: number;
}

export type FromMonitor =
  | { readonly kind: "ready" }
  /** The answer to `follow` and `unfollow`: 0, or -errno. */
  | { readonly kind: "answer"; readonly id: number; readonly errno: number }
  /** Drain these ranges, and say how it stands in the word that both share. */
  | { readonly kind: "start"; readonly id: number; readonly ranges: readonly Range[] }
  | { readonly kind: "end"; readonly id: number }
  | { readonly kind: "settled" }
  | { readonly kind: "unmapped"; readonly gone: Range; readonly announced: readonly Chunks[] };

/**
 * The word: the number of the latest start, and how it stands. The monitor asks and may give up; the engine's thread answers. Each
 * changes only what it has seen, so that an answer that comes too late changes nothing.
 */
export const ASKED = 0;
/** It waits for another invalidation to end. */
export const TURN = 1;
export const DRAINING = 2;
export const BEGUN = 3;
export const COVERED = 4;
export const GIVEN_UP = 5;
const STATES = 8;
const NUMBERS = 2 ** 28;

export function drainWord(id: number, state: number): number {
  return (id % NUMBERS) * STATES + state;
}

export function stateOf(word: number): number {
  return word % STATES;
}
