/**
 * Scenarios: a small machine, and the actions that may happen on it. The explorer tries every order of them, and every
 * failure that the scenario allows. Everything is counted in pages of the one arena.
 */

import { INVARIANTS, type Invariant, MMU_EVENTS, type MmuEvent } from "pinless/portable";

/** io_uring with leases; io_uring without; the other two. */
export type CheckedScheme = "io_uring" | "per-io" | "aio" | "direct";

export const CHECKED_SCHEMES: readonly CheckedScheme[] = ["io_uring", "per-io", "aio", "direct"];

export const INVARIANT_NAMES: readonly Invariant[] = INVARIANTS;

export const EVENTS: readonly MmuEvent[] = MMU_EVENTS;

/** Pages from first to last. */
export interface Pages {
  readonly first: number;
  readonly last: number;
}

export interface ScenarioRequest extends Pages {
  /** The file is written from memory: a device read. */
  readonly write: boolean;
}

export interface ScenarioInvalidation extends Pages {
  readonly event: MmuEvent;
  readonly blockable: boolean;
  /** It ends only once this request is answered; -1: it waits for none. */
  readonly awaits: number;
}

/** A call by other code of the process. */
export interface ForeignCall extends Pages {
  /**
   * discard: madvise(MADV_DONTNEED), where the pages go after the monitor has read of it. unmap: munmap, where they go
   * before.
   */
  readonly call: "discard" | "unmap";
  /** By the engine's own thread, which can do nothing else meanwhile. */
  readonly own: boolean;
  /** Its event is there for some time before anybody can see who waits. */
  readonly unseen: boolean;
}

/** One machine and its actors. */
export interface Scenario {
  readonly name: string;
  /** Linux: get_user_pages; or the proposal: mmu notifiers. */
  readonly kernel: "gup" | "notifier";
  /** Pinless is between the program and the kernel. If not, io_uring's buffers are registered for life. */
  readonly engine: boolean;
  /** The invariant that is known not to hold. */
  readonly expects: Invariant | null;
  readonly scheme: CheckedScheme;
  readonly chunks: number;
  readonly chunkPages: number;
  /** Pages at first: dirty, or swapped in by a load, and so clean with a copy in swap. */
  readonly pages: "dirty" | "clean";
  readonly requests: readonly ScenarioRequest[];
  readonly invalidations: readonly ScenarioInvalidation[];
  readonly foreign: readonly ForeignCall[];
  /** Requests that there is room for at a time. */
  readonly room: number;
  /** Leases that fit into the budget. */
  readonly leases: number;
  /** Times, at most, that kswapd takes a page, that compaction moves one, */
  readonly reclaims: number;
  readonly migrations: number;
  /** the program forks, a look-up finds no memory (ENOMEM; both without an engine only), */
  readonly forks: number;
  readonly noMemory: number;
  /** a request fails with EIO, or ends early, a lease is refused (ENOMEM), */
  readonly eio: number;
  readonly short: number;
  readonly refusals: number;
  /**
   * the engine's clock finds that so much time has passed that leases are idle, or it's late and only the monitor sees
   * that,
   */
  readonly ticks: number;
  readonly stalls: number;
  /** the program cancels a request, */
  readonly cancels: number;
  /** something ends in the middle of a turn, just before the engine goes to sleep, */
  readonly lateEnds: number;
  /** the kernel takes none of what's to be submitted (EAGAIN), */
  readonly refusedSubmissions: number;
  /**
   * the monitor's thread ends, in the middle of a lease that it gives back, or with what it has begun and announced,
   */
  readonly losses: number;
  /** and another follows in its place. */
  readonly restarts: number;
  /** kswapd may come in the middle of a call of the engine's too, and other code's load then brings the page back. */
  readonly withinCalls: boolean;
  /** The kernel may hold the pages of unregistered requests for some time after their end. */
  readonly lateRelease: boolean;
}

/** Requests of the same kind on the same pages: which of them goes first makes no difference. */
export function areAlike(a: ScenarioRequest, b: ScenarioRequest): boolean {
  return a.write === b.write && a.first === b.first && a.last === b.last;
}
