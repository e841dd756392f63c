/** Renders a what-if as text: tables, and the growth of figures along the swept lists. */

import { DASH, type Grid, renderGrid, type Style, textOf, wrap } from "@pinless/cli/command";
import { PAGE_BYTES } from "pinless/portable";
import { RATES } from "../what-if/event-rates.js";
import { sizeOf } from "../what-if/fields.js";
import type { Plan } from "../what-if/plan.js";
import type { PointReport, StudyReport } from "../what-if/study.js";
import type { Figures, OperationFigures } from "../what-if/what-if-figures.js";
import { renderGrowth } from "./what-if-growth.js";
import { count, duration, shortly } from "./what-if-units.js";

interface Section {
  readonly title: string;
  readonly columns: readonly string[];
  cells(figures: Figures, plan: Plan): readonly string[];
}

const SECTIONS: readonly Section[] = [
  {
    title: "Requests",
    columns: ["a second", "MiB/s", "p50 µs", "p99 µs", "p99.9 µs", "CPU µs\neach", "of the\nCPUs", "ready\nafter"],
    cells: (f) => [
      count(f.requestsPerSecond),
      count(f.mibPerSecond),
      micros(f.latency.p50Us),
      micros(f.latency.p99Us),
      micros(f.latency.p999Us),
      f.cpuUsPerRequest.toFixed(2),
      percent(f.cpuShare),
      duration(f.startMs * 1000),
    ],
  },
  {
    title: "Memory that can't be moved, and 2 MiB pages that the machine could still give, of those asked for",
    columns: ["pinned,\nmean", "pinned,\nmost", "pinned\nat rest", "huge pages\nunder load", "huge pages\nat rest"],
    cells: ({ pinnedPages: { mean, most, atRest }, hugePages }) => [
      sizeOf(Math.round(mean) * PAGE_BYTES),
      sizeOf(most * PAGE_BYTES),
      sizeOf(atRest * PAGE_BYTES),
      share(hugePages.underLoad.got, hugePages.underLoad.asked),
      share(hugePages.atRest.got, hugePages.atRest.asked),
    ],
  },
  {
    title: "How long memory operations waited for I/O, and starting a child took",
    columns: ["waited", "in all", "p50", "p99", "longest", "a child"],
    cells: ({ blocked, fork }) => [
      count(blocked.count),
      duration(blocked.sumMs * 1000),
      ...(blocked.count === 0 ? [DASH, DASH, DASH] : [blocked.p50Us, blocked.p99Us, blocked.maxUs].map(duration)),
      fork.count === 0 ? DASH : duration(fork.p50Us),
    ],
  },
  {
    title: "What it costs to follow, a second",
    columns: ["validated\nagain", "for", "leases\ntaken", "for", "left out\nby type", "waits for\nwriteback", "p99"],
    cells: (f, { run: { seconds } }) => [
      count(f.revalidations / seconds),
      duration(f.revalidationUs / seconds),
      count(f.leases.taken / seconds),
      duration(f.leases.us / seconds),
      count(f.filtered / seconds),
      count(f.writebackWaits.count / seconds),
      f.writebackWaits.count === 0 ? DASH : duration(f.writebackWaits.p99Us),
    ],
  },
  {
    title: "What goes wrong without anybody being told, a second",
    columns: ["reads that\nnever arrive", "writes under\nwriteback"],
    cells: (f, { run: { seconds } }) => [count(f.readsLost / seconds), count(f.unsafeWrites / seconds)],
  },
];

/** Renders a report. The text ends with a newline and has control characters only for colours. */
export function renderStudy(report: StudyReport, style: Style): string {
  const say = (text: string): readonly string[] => wrap(text, style.columns, "  ");
  const lines: string[] = [
    ...say(report.title === "" ? "What if" : report.title),
    ...say(
      `${report.engine}, seed ${report.seed}; the largest machine took ` +
        `${sizeOf(report.simulatedInBytes)} of this one's memory`,
    ),
  ];
  const [first] = report.points;
  if (first !== undefined) for (const line of describe(first.plan, report.swept)) lines.push(...say(line));
  lines.push("");
  const grids = [...SECTIONS.slice(0, 2).map((s) => gridOf(s, report)), operations(report)];
  for (const grid of [...grids, ...SECTIONS.slice(2).map((s) => gridOf(s, report))])
    if (grid !== null) lines.push(...renderGrid(grid, style), "");
  lines.push(...renderGrowth(report, style));
  lines.push("What the model does not model", ...report.notModelled.flatMap((line) => say(`- ${line}`)));
  return textOf(lines);
}

function describe({ machine, buffers, io, run }: Plan, swept: readonly string[]): readonly string[] {
  const scattered = buffers.pages === "small" ? ` over ${sizeOf(buffers.spreadBytes)}` : "";
  const part = buffers.activeBytes === buffers.bytes ? "" : `, ${sizeOf(buffers.activeBytes)} of them in use`;
  return [
    `${sizeOf(machine.bytes)}, ${machine.nodes} NUMA node${machine.nodes === 1 ? "" : "s"}; ` +
      `buffers of ${sizeOf(buffers.bytes)} in ${buffers.pages} pages${scattered}, ${buffers.backing}${part}`,
    `${io.scheme}, ${io.threads} × ${io.depth} requests of ${sizeOf(io.requestBytes)} in flight, ${run.seconds} s` +
      (swept.length === 0 ? "" : `; swept: ${swept.join(", ")}`),
  ];
}

function gridOf({ title, columns, cells }: Section, report: StudyReport): Grid | null {
  const rows = rowsOf(report, (figures, plan) => cells(figures, plan));
  // A table without values isn't shown.
  const none = rows.every((row) => row.cells.every((cell) => [DASH, "0", "0 µs"].includes(cell)));
  return none ? null : { title, columns, rows };
}

function rowsOf({ points }: StudyReport, cells: (figures: Figures, plan: Plan) => readonly string[]): Grid["rows"] {
  return points.flatMap((point) =>
    point.designs.map((figures) => ({ name: nameOf(point, figures), cells: cells(figures, point.plan) })),
  );
}

function nameOf({ values }: PointReport, { design }: Figures): string {
  const where = Object.entries(values).map(([field, value]) => shortly(field, value));
  return [...where, design].join("  ");
}

/** Table of operations: how many were done of those asked for, by kind. */
function operations(report: StudyReport): Grid | null {
  const kinds = RATES.filter((kind) =>
    report.points.some(({ designs }) => designs.some(({ operations: o }) => (o[kind]?.asked ?? 0) > 0)),
  );
  if (kinds.length === 0) return null;
  const cell = (figures: OperationFigures | undefined): string =>
    figures === undefined || figures.asked === 0 ? DASH : `${count(figures.done)}/${count(figures.asked)}`;
  return {
    title: "Memory operations done of those that were asked for; the others met pins, or pages that were busy",
    columns: kinds.map((kind) => kind.replace(/([a-z])([A-Z])/, "$1\n$2")),
    rows: rowsOf(report, ({ operations: of }) => kinds.map((kind) => cell(of[kind]))),
  };
}

function percent(of: number): string {
  return `${Math.round(of * 100)} %`;
}

function share(part: number, whole: number): string {
  return whole === 0 ? DASH : percent(part / whole);
}

function micros(us: number): string {
  return us < 100 ? us.toFixed(1) : count(us);
}
