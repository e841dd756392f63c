/** Renders a report as text. */

import { bytesText } from "../../command/figures.js";
import { bold, DASH, type Grid, renderGrid, type Style, TABLE_COLUMNS, textOf, wrap } from "../../command/grid.js";
import { NO_OTHER_PINS } from "../configurations.js";
import {
  type HostHuge,
  isSkipped,
  type LoadSummary,
  type LossFigures,
  type Maybe,
  type Report,
  type Row,
  type StormOperation,
} from "../report-schema.js";
import { count, milliseconds, percent } from "./verdict.js";
import { renderWaits } from "./waits-table.js";

/** One table: its title, and its cells for each configuration. */
interface Section {
  readonly title: string;
  readonly columns: readonly string[];
  cells(row: Row): readonly string[];
  /** True for the rows that it's about; by default all. */
  concerns?(row: Row): boolean;
}

const LOAD_COLUMNS = ["reads/s", "MiB/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs each"];

function loadCells(load: Maybe<LoadSummary>): readonly string[] {
  if (isSkipped(load)) return LOAD_COLUMNS.map(() => DASH);
  const { p50Us, p99Us, p999Us } = load.latency;
  return [
    count(load.requestsPerSecond),
    count(load.mibPerSecond),
    micros(p50Us),
    micros(p99Us),
    micros(p999Us),
    load.cpuUsPerRequest.toFixed(1),
  ];
}

const SECTIONS: readonly Section[] = [
  { title: "Random reads of 4 KiB, 32 in flight", columns: LOAD_COLUMNS, cells: (row) => loadCells(row.read4KiB) },
  { title: "Random reads of 128 KiB, 32 in flight", columns: LOAD_COLUMNS, cells: (row) => loadCells(row.read128KiB) },
  {
    title: "4 KiB under a storm of memory operations: pages done of those asked for",
    columns: ["speed\nkept", "discard", "page out", "collapse", "reads\nlost"],
    cells: stormCells,
  },
  {
    title: "Data that was lost, and what pins cost",
    columns: [
      "lost after\ndiscard",
      "lost after\nreclaim",
      "pinned\nat rest",
      "pinned\nat most",
      "spawn with\nbuffers",
    ],
    cells: (row) => [
      lost(row.lostAfterDiscard),
      lost(row.lostAfterReclaim),
      isSkipped(row.rest) ? DASH : bytesText(row.rest.pinnedBytesAtRest),
      isSkipped(row.rest) ? DASH : residency(row.rest.residencyMaxMs),
      isSkipped(row.spawn) ? DASH : milliseconds(row.spawn.medianMs),
    ],
  },
  {
    title: "Taking leases again: invalidations where the I/O is, against as many elsewhere",
    columns: [
      "leases taken of\ninvalidations",
      "µs\neach",
      "reads fewer\nfor each",
      "pages moved\n(host)",
      "elsewhere",
    ],
    concerns: (row) => row.scheme === "io_uring",
    cells: ({ revalidation: r }) =>
      isSkipped(r)
        ? [DASH, DASH, DASH, DASH, DASH]
        : [
            `${count(r.leasesTaken)} of ${count(r.invalidations)}`,
            r.usPerInvalidation.toFixed(1),
            r.requestsFewerPerInvalidation.toFixed(1),
            count(r.hostPagesMigrated),
            count(r.hostPagesMigratedElsewhere),
          ],
  },
  {
    title: "Migrated to another NUMA node with reads in flight",
    columns: ["pages\nasked for", "done", "refused", "wait p99"],
    concerns: (row) => row.scheme !== null,
    cells: ({ migration: m }) =>
      isSkipped(m)
        ? [DASH, DASH, DASH, DASH]
        : [count(m.pagesAsked), count(m.pagesDone), count(m.pagesRefused), milliseconds(m.waitP99Ms)],
  },
];

function stormCells({ storm4KiB: storm }: Row): readonly string[] {
  if (isSkipped(storm)) return [DASH, DASH, DASH, DASH, DASH];
  const share = (kind: StormOperation): string => {
    const figures = storm.operations[kind];
    return isSkipped(figures) ? DASH : percent(figures.pagesDone / Math.max(1, figures.pagesAsked));
  };
  const { readsLost, readsChecked } = storm;
  const reads = readsChecked === 0 ? DASH : readsLost === 0 ? "0" : percent(readsLost / readsChecked);
  return [percent(storm.throughputKept), share("discard"), share("pageOut"), share("collapse"), reads];
}

function lost(figures: Maybe<LossFigures>): string {
  if (isSkipped(figures)) return DASH;
  return figures.blocksLost === 0 ? "0" : bytesText(figures.bytesLost);
}

function residency(maxMs: number | null): string {
  return maxMs === null ? "for ever" : maxMs === 0 ? "a request" : milliseconds(maxMs);
}

function micros(value: number): string {
  return value < 1000 ? value.toFixed(value < 100 ? 1 : 0) : count(value);
}

/** Renders the report; ends with a newline, and has no control characters except for colours. */
export function renderReport(report: Report, style: Style): string {
  const { rows, hostHugePages } = report;
  const lines: string[] = [...heading(report).flatMap((line) => wrap(line, style.columns)), ""];
  lines.push(...legend(rows, style.columns), "");
  for (const { title, columns, cells, concerns } of SECTIONS) {
    const concerned = rows
      .filter((row) => concerns?.(row) ?? true)
      .map((row) => ({ name: nameOf(row), cells: cells(row) }));
    // A table without figures is left out; the notes give the reason once.
    if (concerned.every((row) => row.cells.every((cell) => cell === DASH))) continue;
    lines.push(...renderGrid({ title, columns, rows: concerned }, style), "");
  }
  const waits = renderWaits(rows, nameOf, style);
  if (waits.length > 0) lines.push(...waits, "");
  if (!isSkipped(hostHugePages)) lines.push(...renderGrid(hugePages(hostHugePages), style), "");
  const said = notes(report);
  if (said.length > 0) lines.push(...said.flatMap((line) => wrap(line, style.columns, "  ")), "");
  lines.push(...report.verdict.flatMap((line) => wrap(line, style.columns, "  ").map((part) => bold(part, style))));
  return textOf(lines);
}

function hugePages({ regionBytes, rows }: HostHuge): Grid {
  return {
    title: `Huge pages that the host can still get, buffers scattered over ${bytesText(regionBytes)}`,
    columns: ["pinned", "2 MiB areas\nbefore/after", "got of\nasked", "missing", "took", "longest\nstep"],
    rows: rows.map(({ label, figures: f }) => ({
      name: label,
      cells: isSkipped(f)
        ? [DASH, DASH, DASH, DASH, DASH, DASH]
        : [
            bytesText(f.pinnedBytes),
            `${count(f.blocksBefore)}/${count(f.blocksAfter)}`,
            percent(f.hugePagesGot / Math.max(1, f.hugePagesAsked)),
            bytesText(f.missingBytes),
            milliseconds(f.elapsedMs),
            milliseconds(f.stepMaxMs),
          ],
    })),
  };
}

function heading({ machine, settings }: Report): readonly string[] {
  const memlock =
    machine.memlockBytes === null ? "no limit on pins" : `${bytesText(machine.memlockBytes)} of pins allowed`;
  const swap = { active: "swap active", temporary: "a temporary swap file", none: "no swap" }[machine.swap];
  return [
    `Linux ${machine.kernel} ${machine.arch}, Node ${machine.node}, ${machine.cpus} × ${machine.cpu}, ` +
      `${bytesText(machine.memoryBytes)}`,
    `reads of ${settings.file === "scratch" ? "a scratch file" : settings.file}, ${bytesText(settings.fileBytes)} on ` +
      `${settings.filesystem}; uid ${machine.user}, ${memlock}; ${swap}`,
    `${settings.rounds} ${settings.rounds === 1 ? "round" : "rounds"}, every configuration for ${settings.sliceMs} ` +
      "ms in turn, medians",
  ];
}

function legend(rows: readonly Row[], columns: number): readonly string[] {
  const width = columns >= TABLE_COLUMNS ? Math.max(...rows.map(({ label }) => label.length)) + 1 : 0;
  return [
    ...rows.flatMap((row) => wrap(`${`${row.label}:`.padEnd(width)} ${row.note}${pagesOf(row)}`, columns, "  ")),
    ...wrap(NO_OTHER_PINS, columns, "  "),
  ];
}

/** Pages that the arena really had, if they differ from the row's name. */
function pagesOf({ pages, ran }: Row): string {
  if (pages === null || isSkipped(ran) || ran.hugeShare === null) return "";
  const asWanted = pages === "huge" ? ran.hugeShare > 0.99 : ran.hugeShare < 0.01;
  return asWanted ? "" : ` (here ${percent(ran.hugeShare)} of it in huge pages)`;
}

function nameOf(row: Row): string {
  return ranOtherwise(row) === null ? row.label : `${row.label} *`;
}

/** Pin mode or scheme that really ran, if it differs from the row's name; otherwise null. */
function ranOtherwise({ ran, pin, scheme }: Row): string | null {
  if (isSkipped(ran) || pin === null) return null;
  if (ran.scheme !== scheme || ran.pin !== pin) return `ran ${ran.scheme} × ${ran.pin}`;
  if (pin === "per-io" || ran.registeredShare > 0.5) return null;
  return `${percent(1 - ran.registeredShare)} of the 4 KiB reads went per-io`;
}

/** Reasons why something ran differently or is missing: a line each, with all rows concerned. */
function notes({ rows, hostHugePages }: Report): readonly string[] {
  const reasons = new Map<string, Set<string>>();
  const note = (reason: string, who: string): void => {
    reasons.set(reason, (reasons.get(reason) ?? new Set()).add(who));
  };
  for (const row of rows) {
    const otherwise = ranOtherwise(row);
    if (otherwise !== null) note(otherwise, `* ${row.label}`);
    if (!isSkipped(row.ran)) for (const reason of row.ran.degraded) note(reason, row.label);
    const storm = isSkipped(row.storm4KiB) ? [] : Object.values(row.storm4KiB.operations);
    for (const figures of [...Object.values(row), ...storm])
      if (isSkipped(figures)) note(figures.skipped, `${DASH} ${row.label}`);
  }
  const said = [...reasons].map(([reason, who]) => `${[...who].join("; ")}: ${reason}`);
  if (isSkipped(hostHugePages)) return [...said, hostHugePages.skipped];
  const missing = hostHugePages.rows.flatMap(({ label, figures }) =>
    isSkipped(figures) ? [`${DASH} ${label}, huge pages of the host: ${figures.skipped}`] : [],
  );
  return [...said, ...missing];
}
