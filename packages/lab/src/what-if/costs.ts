/**
 * Costs of elementary steps in microseconds of one processor, each with its source. All times of a what-if are sums of
 * these. Measurements of whole operations (`calibrate/`) aren't among them, except for rows that say so.
 *
 * "Measured" means: on Linux 6.18, x86-64, a virtual machine with 2 cores and 24 GiB, by small programs in C (liburing
 * 2.3 for rings).
 */

import { PAGE_BYTES } from "pinless/portable";
import { HUGE_PAGES } from "../model/tables.js";

export interface Cost {
  readonly us: number;
  readonly source: string;
}

const cost = (us: number, source: string): Cost => ({ us, source });

/**
 * The loop in C took 1.45 µs of CPU time for a registered request of 4 KiB and 13.3 µs for one of 128 KiB, where the
 * submitting thread copies.
 */
const ON_ZRAM = "measured: ext4 on zram, 32 in flight, C: 1.4–1.5 µs for 4 KiB, 13.3 µs for 128 KiB, registered";
const PER_IO = "measured: the same loop without a registration: 24.5 µs for 128 KiB, 1.8–2.2 µs for 4 KiB";
const LEASES = "measured: IORING_REGISTER_BUFFERS_UPDATE of one slot";

export const COSTS = {
  /** A request by a registered buffer, without the copying of its data. */
  request: cost(1.07, `${ON_ZRAM}: what is left at 0 pages`),
  /** Surcharge of a ring that JavaScript drives. */
  javascript: cost(0.09, "measured: the engine against the loop in C, a request of 4 KiB"),
  /** Surcharge of a request by the other schemes. */
  aio: cost(0.4, "measured: the engine on Linux AIO: 2.4 µs of CPU for a read of 4 KiB"),
  direct: cost(6.9, "measured: the engine on libuv's pool: 8.9 µs of CPU for a read of 4 KiB"),
  /** Copying a page of data, if the submitting thread is the device (zram, tmpfs). */
  inlinePage: cost(0.38, `${ON_ZRAM}: 11.85 µs more for 31 pages`),
  /** Pinning and unpinning the pages of a request without a registration. */
  perIo: cost(0.2, `${PER_IO}: 0.55 µs more for 1 page`),
  perIoPage: cost(0.35, `${PER_IO}: 11.2 µs more for 32 pages`),

  /** Registering: the call, each folio, and each further 4 KiB of a large folio. `give…`: unregistering. */
  take: cost(0.55, `${LEASES}, 4 KiB: 0.6 µs`),
  takeFolio: cost(0.067, `${LEASES}, 2 MiB of 4 KiB pages: 35 µs`),
  takePart: cost(0.0039, `${LEASES}, one huge page: 2.6 µs`),
  give: cost(0.4, `${LEASES}, 4 KiB: 0.4 µs to give back`),
  giveFolio: cost(0.0188, `${LEASES}, 2 MiB of 4 KiB pages: 10 µs to give back`),
  givePart: cost(0.00018, `${LEASES}, one huge page: 0.5 µs to give back`),
  /** Accounting of a large folio looks at every registered segment: one outside the CPU cache, and one inside it. */
  segment: cost(0.0156, "measured: one huge page's lease with 1,000 live ones of 512 pages: 8 ms"),
  cachedSegment: cost(0.0006, "assumed: two cycles at 3 GHz"),

  /** MADV_POPULATE_WRITE of present memory. */
  populatePage: cost(0.053, "measured: 27 µs for 2 MiB of 4 KiB pages"),
  populateHugePage: cost(0.4, "measured: 0.4 µs for 2 MiB"),
  /** First touch of an absent page: allocating, charging, zeroing and mapping it. */
  freshPage: cost(1.33, "measured: MADV_POPULATE_WRITE of 256 MiB that were discarded"),
  copyPage: cost(0.25, "measured: memcpy of 4 KiB pages that aren't in the cache"),
  zapPage: cost(0.25, "measured: MADV_DONTNEED of 256 MiB of 4 KiB pages"),

  /** fork(2): the process, and each page table entry. */
  fork: cost(300, "measured: fork of a process whose buffers are MADV_DONTFORK: 0.3 ms"),
  forkPage: cost(0.09, "measured: fork with 256 MiB of 4 KiB pages: 5.8–6.1 ms"),
  /** Moving a page: removing its mapping, copying it, mapping the copy. */
  movePage: cost(2, "assumed: a new page, a copy, two changes of the mapping (1.33 + 0.25 + 2 × 0.25, rounded)"),
  collapsePage: cost(1.6, "measured: MADV_COLLAPSE of one huge page's range: 0.83 ms (up to 4.5 ms on a busy machine)"),
  /** Swapping a page in during a request, without the device's time. */
  swapInPage: cost(2, "assumed: as moving a page"),
  reclaimPage: cost(2, "assumed: as moving a page; another thread writes it out"),

  /** The proposal: checking the sequence number of a registration, with every request on it. */
  checkSequence: cost(0.005, "assumed: a load that is in the cache"),
  /** The proposal: the callback of an invalidation. */
  notify: cost(0.2, "assumed: a lookup in an interval tree and a store"),
  /** The proposal: finding the pages again, without the accounting of a registration. */
  findPage: cost(0.05, "assumed: three quarters of registering it"),
  findHugePage: cost(0.3, "assumed: as a page of a registration, and the call"),
} as const satisfies Record<string, Cost>;

/** Share of pages that can't be isolated at a given moment, because they are on a processor's list or locked. */
export const BUSY_SHARE = {
  share: 2 / 512,
  source: "measured: one MADV_PAGEOUT of 512 pages leaves 1 to 3 of them",
} as const;

export const HUGE_BYTES = HUGE_PAGES * PAGE_BYTES;

/** Cost of pinning and unpinning the pages of a request without a registration. */
export function perIoUs(pages: number): number {
  return COSTS.perIo.us + COSTS.perIoPage.us * pages;
}

/**
 * Cost of registering pages in folios of `folioPages` each. For large folios the accounting looks at every registered
 * segment.
 */
export function takeUs(pages: number, folioPages: number, liveSegments: number): number {
  const folios = Math.ceil(pages / folioPages);
  const found = COSTS.take.us + folios * COSTS.takeFolio.us;
  if (folioPages === 1) return found;
  // The segments of the same call that are registered so far are among them.
  const own = ((folios * (folios - 1)) / 2) * folioPages * COSTS.cachedSegment.us;
  return found + (pages - folios) * COSTS.takePart.us + own + folios * liveSegments * COSTS.segment.us;
}

export function giveUs(pages: number, folioPages: number): number {
  const folios = Math.ceil(pages / folioPages);
  return COSTS.give.us + folios * COSTS.giveFolio.us + (pages - folios) * COSTS.givePart.us;
}

/** Cost of fork(2): page table entries are copied. Pinned pages are copied too, since they can't be shared. */
export function forkUs(smallChunks: number, hugeChunks: number, pinned: boolean): number {
  const page = COSTS.forkPage.us + (pinned ? COSTS.freshPage.us + COSTS.copyPage.us : 0);
  // A pinned huge page is split, and copied as small ones.
  return (
    COSTS.fork.us + smallChunks * HUGE_PAGES * page + hugeChunks * (pinned ? HUGE_PAGES * page : COSTS.forkPage.us)
  );
}
