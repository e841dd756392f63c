/**
 * Rows about the cost of registrations by size, in small and huge pages: the model adds up pages and the segments that
 * the accounting looks at.
 */

import { HUGE_PAGES } from "../../model/tables.js";
import { COSTS, giveUs, perIoUs, takeUs } from "../costs.js";
import { type CalibrationRow, input, type Measured, side } from "./row.js";

/** Number of pages of 4 KiB, and microseconds measured with small pages and with huge ones. */
const TAKE: readonly (readonly [pages: number, small: number, huge: number])[] = [
  [1, 0.6, 0.6],
  [8, 1.1, 0.9],
  [64, 5, 1.1],
  [512, 35, 2.6],
  [16384, 1920, 230],
];
const GIVE: typeof TAKE = [
  [1, 0.4, 0.4],
  [8, 0.6, 0.4],
  [64, 1.7, 0.4],
  [512, 10, 0.5],
  [16384, 720, 4],
];

export function costRows(): readonly CalibrationRow[] {
  return [...TAKE.map(takeRow), ...GIVE.map(giveRow), ...accounting(), ...populating(), ...loops()];
}

function takeRow([pages, small, huge]: (typeof TAKE)[number]): CalibrationRow {
  return {
    title: `taking a lease of ${size(pages)}`,
    unit: "µs",
    better: "less",
    sides: [
      measuredSide(pages)("4 KiB pages", small, takeUs(pages, 1, 0)),
      measuredSide(pages)("huge pages", huge, takeUs(pages, HUGE_PAGES, 0)),
    ],
    mechanism: "the call, and each page; a huge page is also looked for among those before it",
    inputs: ["take", "takeFolio", "takePart", "cachedSegment"],
  };
}

function giveRow([pages, small, huge]: (typeof GIVE)[number]): CalibrationRow {
  return {
    title: `giving one of ${size(pages)} back`,
    unit: "µs",
    better: "less",
    sides: [
      measuredSide(pages)("4 KiB pages", small, giveUs(pages, 1)),
      measuredSide(pages)("huge pages", huge, giveUs(pages, HUGE_PAGES)),
    ],
    mechanism: "the call, and each page, or huge page and its parts",
    inputs: ["give", "giveFolio", "givePart"],
  };
}

/** Inputs: the costs are from the first row and from that of 2 MiB. */
function measuredSide(pages: number): typeof side {
  return pages === 1 || pages === HUGE_PAGES ? input : side;
}

/** Registers beside a number of live leases of 2 MiB of small pages. */
function accounting(): readonly CalibrationRow[] {
  const FOLIO_PAGES = 16;
  const ms = (leases: number, folioPages: number): number => takeUs(HUGE_PAGES, folioPages, leases * HUGE_PAGES) / 1000;
  const folios = (leases: number, measured: Measured | number) =>
    side("folios of 64 KiB", measured, ms(leases, FOLIO_PAGES));
  const mechanism = "each folio is looked for in every segment that is registered";
  const inputs = ["segment", "takeFolio", "takePart"] as const;
  return [
    {
      title: "taking 2 MiB with 1,000 live leases of 512 pages",
      unit: "ms",
      better: "less",
      sides: [input("one huge page", 8, ms(1000, HUGE_PAGES)), folios(1000, 240)],
      mechanism,
      inputs,
    },
    {
      title: "the same with 100 live ones",
      unit: "ms",
      better: "less",
      sides: [folios(100, 13), null],
      mechanism,
      inputs,
    },
  ];
}

function size(pages: number): string {
  return pages < 256 ? `${4 * pages} KiB` : `${pages / 256} MiB`;
}

function populating(): readonly CalibrationRow[] {
  const us = (pages: number): number => pages * COSTS.populatePage.us;
  return [
    {
      title: "MADV_POPULATE_WRITE of 2 MiB that is there",
      unit: "µs",
      better: "less",
      sides: [input("4 KiB pages", 27, us(HUGE_PAGES)), input("one huge page", 0.4, COSTS.populateHugePage.us)],
      mechanism: "each page table entry is looked at",
      inputs: ["populatePage", "populateHugePage"],
    },
    {
      title: "the same of 64 KiB",
      unit: "µs",
      better: "less",
      sides: [side("4 KiB pages", 1.1, us(16)), null],
      mechanism: "each page table entry is looked at",
      inputs: ["populatePage"],
    },
  ];
}

/** CPU time of the loop in C, divided into the cost of a request and that of its pages. */
function loops(): readonly CalibrationRow[] {
  const us = (pages: number, registered: boolean): number =>
    COSTS.request.us + pages * COSTS.inlinePage.us + (registered ? 0 : perIoUs(pages));
  return (
    [
      ["4 KiB", 1, [1.4, 1.5], [1.8, 2.2]],
      ["128 KiB", 32, [13.3, 13.3], [24.5, 24.5]],
    ] as const
  ).map(([size, pages, registered, not]) => ({
    title: `a read of ${size} by a loop in C, ext4 on zram, 32 in flight`,
    unit: "µs of CPU",
    better: "less",
    sides: [input("registered", registered, us(pages, true)), input("not", not, us(pages, false))],
    mechanism: "the call, the device's copy, and the pages of what isn't registered",
    inputs: ["request", "inlinePage", "perIo", "perIoPage"],
  }));
}
