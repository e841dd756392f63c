/**
 * Words of the engine that owns a shared arena. Its monitor announces changes by other code there
 * (monitor/deferred-changes.ts), and the engines of other threads that have attached the arena read them in addition to
 * their own. Their leases aren't dropped by that monitor, so each engine drops those itself that are older than an
 * announcement (`Gate.admit`).
 */

import { ANNOUNCED_BEGUN, CHUNK_WORDS, type OwnerWords } from "./chunk-table.js";
import { isConcluded, isReading } from "./monitor/deferred-changes.js";
import type { BufferLocation } from "./scheme.js";

type Span = Pick<BufferLocation, "firstAt" | "lastAt">;

/** Number of changes that the owner's monitor has announced so far; 0 for an engine's own memory. */
export function announcedByOwner(owner: OwnerWords | null, { firstAt, lastAt }: Span): number {
  let announced = 0;
  if (owner === null) return announced;
  for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS)
    announced = (announced + Atomics.load(owner.chunks, at + ANNOUNCED_BEGUN)) | 0;
  return announced;
}

/** True if none of them is in progress, and no event is being read. To be called after `announcedByOwner`. */
export function isConcludedByOwner(owner: OwnerWords | null, { firstAt, lastAt }: Span): boolean {
  if (owner === null) return true;
  if (isReading(owner.reading)) return false;
  for (let at = firstAt; at <= lastAt; at += CHUNK_WORDS) if (!isConcluded(owner.chunks, at)) return false;
  return true;
}
