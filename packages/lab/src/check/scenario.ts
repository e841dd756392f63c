/**
 * Scenarios: a small machine, and the actions that may happen on it. The explorer tries every order of them, with every
 * failure that the scenario allows. Ranges are given in pages of the one arena.
 */

import { INVARIANTS, type Invariant, MMU_EVENTS, type MmuEvent } from "pinless/portable";

/** Schemes of a scenario: io_uring with leases, io_uring without (`per-io`), and the other two. */
export type CheckedScheme = "io_uring" | "per-io" | "aio" | "direct";

export const CHECKED_SCHEMES: readonly CheckedScheme[] = ["io_uring", "per-io", "aio", "direct"];

export const INVARIANT_NAMES: readonly Invariant[] = INVARIANTS;

export const EVENTS: readonly MmuEvent[] = MMU_EVENTS;

/** Pages of the arena, both ends included. */
export interface Pages {
  readonly first: number;
  readonly last: number;
}

export interface ScenarioRequest extends Pages {
  /** True if the file is written, which is a device read of the memory. */
  readonly write: boolean;
  /** True if an engine of another thread makes it, which has attached the memory. */
  readonly attached: boolean;
}

export interface ScenarioInvalidation extends Pages {
  readonly event: MmuEvent;
  readonly blockable: boolean;
  /** Request after whose answer the program ends the invalidation, or -1. */
  readonly awaits: number;
}

/** A call by other code of the process. */
export interface ForeignCall extends Pages {
  /**
   * discard: madvise(MADV_DONTNEED), whose pages are freed after the monitor has read the event. unmap: munmap, whose
   * pages are gone before.
   */
  readonly call: "discard" | "unmap";
  /** Ranges of its events, in their order: one for each mapping of its memory. */
  readonly events: readonly Pages[];
  /** True if the engine's own thread makes the call, so that it can do nothing else meanwhile. */
  readonly own: boolean;
  /** True if its event can be read for some time before the thread can be seen waiting. */
  readonly unseen: boolean;
}

/** One machine and its actors. */
export interface Scenario {
  readonly name: string;
  /** Kernel: Linux, with get_user_pages; or the proposal, with mmu notifiers. */
  readonly kernel: "gup" | "notifier";
  /** True if the program uses pinless. If not, io_uring's buffers are registered for life. */
  readonly engine: boolean;
  /** The invariant that is known to be violated. */
  readonly expects: Invariant | null;
  readonly scheme: CheckedScheme;
  readonly chunks: number;
  readonly chunkPages: number;
  /** Initial pages: dirty; or clean, as after a load that swapped them in, with a copy in swap. */
  readonly pages: "dirty" | "clean";
  readonly requests: readonly ScenarioRequest[];
  readonly invalidations: readonly ScenarioInvalidation[];
  readonly foreign: readonly ForeignCall[];
  /** Maximum number of requests in flight. */
  readonly room: number;
  /** Number of leases that fit into the budget. */
  readonly leases: number;
  // The following are the maximum numbers of events of a kind.

  /** kswapd reclaims a page. */
  readonly reclaims: number;
  /** Compaction moves a page. */
  readonly migrations: number;
  /** The program forks (without an engine only). */
  readonly forks: number;
  /** A lookup of pages finds no memory: ENOMEM (without an engine only). */
  readonly noMemory: number;
  /** A request fails with EIO. */
  readonly eio: number;
  /** A request ends early. */
  readonly short: number;
  /** A lease is refused with ENOMEM. */
  readonly refusals: number;
  /** Time passes until leases are idle, and the engine's clock ticks. */
  readonly ticks: number;
  /** Time passes while the engine's thread is busy, so that only the monitor's clock ticks. */
  readonly stalls: number;
  /** The program cancels a request. */
  readonly cancels: number;
  /** A request ends, or a tag is posted, at the end of a turn, just before the engine goes to sleep. */
  readonly lateEnds: number;
  /** The kernel refuses a submission with EAGAIN. */
  readonly refusedSubmissions: number;
  /** The monitor's thread ends, in any state. */
  readonly losses: number;
  /** Another monitor is started in its place. */
  readonly restarts: number;
  /** The attached engine detaches the memory, or its thread ends. */
  readonly detaches: number;
  readonly threadEnds: number;
  /** True if kswapd may also reclaim a page in the middle of a call of the engine, and a load brings it back. */
  readonly withinCalls: boolean;
  /** True if the kernel may keep the pages of unregistered requests pinned for some time after their end. */
  readonly lateRelease: boolean;
}

/** True for requests of the same direction on the same pages, whose order makes no difference. */
export function areAlike(a: ScenarioRequest, b: ScenarioRequest): boolean {
  return a.write === b.write && a.attached === b.attached && a.first === b.first && a.last === b.last;
}
