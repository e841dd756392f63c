/** A report for people. */

import Table from "cli-table3";
import {
  isSkipped,
  type LoadSummary,
  type LossFigures,
  type Maybe,
  type OperationFigures,
  type Report,
  type Row,
  STORM_OPERATIONS,
  type StormOperation,
} from "./figures.js";
import { bytes, count, milliseconds, percent } from "./verdict.js";

const DASH = "–";
/** Below that the columns don't fit, and every row becomes a list. */
const TABLE_COLUMNS = 76;

export interface Style {
  readonly columns: number;
  readonly colors: boolean;
}

/** One table: its title, and what a configuration has in each column. */
interface Section {
  readonly title: string;
  readonly columns: readonly string[];
  cells(row: Row): readonly string[];
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
    columns: ["speed\nkept", "discard", "page out", "collapse", "wait in ms\np50/p99/max", "reads\nlost"],
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
      isSkipped(row.rest) ? DASH : bytes(row.rest.pinnedBytesAtRest),
      isSkipped(row.rest) ? DASH : residency(row.rest.residencyMaxMs),
      isSkipped(row.spawn) ? DASH : milliseconds(row.spawn.medianMs),
    ],
  },
];

function stormCells({ storm4KiB: storm }: Row): readonly string[] {
  if (isSkipped(storm)) return [DASH, DASH, DASH, DASH, DASH, DASH];
  const ran = STORM_OPERATIONS.map((kind) => storm.operations[kind]).filter(
    (f): f is OperationFigures => !isSkipped(f),
  );
  const worst = (of: (f: OperationFigures) => number): string => Math.max(0, ...ran.map(of)).toFixed(1);
  const share = (kind: StormOperation): string => {
    const figures = storm.operations[kind];
    return isSkipped(figures) ? DASH : percent(figures.pagesDone / Math.max(1, figures.pagesAsked));
  };
  const waits = [worst((f) => f.waitP50Ms), worst((f) => f.waitP99Ms), worst((f) => f.waitMaxMs)].join("/");
  const { readsLost, readsChecked } = storm;
  const reads = readsChecked === 0 ? DASH : readsLost === 0 ? "0" : percent(readsLost / readsChecked);
  return [percent(storm.throughputKept), share("discard"), share("pageOut"), share("collapse"), waits, reads];
}

function lost(figures: Maybe<LossFigures>): string {
  if (isSkipped(figures)) return DASH;
  return figures.blocksLost === 0 ? "0" : bytes(figures.bytesLost);
}

function residency(maxMs: number | null): string {
  return maxMs === null ? "for ever" : maxMs === 0 ? "a request" : milliseconds(maxMs);
}

function micros(value: number): string {
  return value < 1000 ? value.toFixed(value < 100 ? 1 : 0) : count(value);
}

/** Text that ends with a newline; without control characters unless there are colours. */
export function renderReport(report: Report, style: Style): string {
  const bold = (text: string): string => (style.colors ? `\x1b[1m${text}\x1b[22m` : text);
  const lines: string[] = [...heading(report).flatMap((line) => wrap(line, style.columns)), ""];
  lines.push(...legend(report.rows, style.columns), "");
  for (const section of SECTIONS) {
    lines.push(...wrap(section.title, style.columns).map(bold));
    lines.push(...(style.columns >= TABLE_COLUMNS ? table(section, report.rows) : list(section, report.rows)), "");
  }
  const said = notes(report.rows);
  if (said.length > 0) lines.push(...said.flatMap((line) => wrap(line, style.columns, "  ")), "");
  lines.push(...report.verdict.flatMap((line) => wrap(line, style.columns, "  ").map(bold)));
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

function heading({ machine, settings }: Report): readonly string[] {
  const memlock = machine.memlockBytes === null ? "no limit on pins" : `${bytes(machine.memlockBytes)} of pins allowed`;
  const swap = { active: "swap active", temporary: "a temporary swap file", none: "no swap" }[machine.swap];
  return [
    `Linux ${machine.kernel} ${machine.arch}, Node ${machine.node}, ${machine.cpus} × ${machine.cpu}, ${bytes(machine.memoryBytes)}`,
    `reads of ${settings.file === "scratch" ? "a scratch file" : settings.file}, ${bytes(settings.fileBytes)} on ${settings.filesystem}; uid ${machine.user}, ${memlock}; ${swap}`,
    `${settings.rounds} ${settings.rounds === 1 ? "round" : "rounds"}, every configuration for ${settings.sliceMs} ms in turn, medians`,
  ];
}

function legend(rows: readonly Row[], columns: number): readonly string[] {
  const width = columns >= TABLE_COLUMNS ? Math.max(...rows.map(({ label }) => label.length)) + 1 : 0;
  return rows.flatMap(({ label, note }) => wrap(`${`${label}:`.padEnd(width)} ${note}`, columns, "  "));
}

function table({ columns, cells }: Section, rows: readonly Row[]): readonly string[] {
  const none = { top: "", "top-mid": "", "top-left": "", "top-right": "", bottom: "", "bottom-mid": "" };
  const drawn = new Table({
    head: ["", ...columns],
    colAligns: ["left", ...columns.map(() => "right" as const)],
    chars: {
      ...none,
      "bottom-left": "",
      "bottom-right": "",
      left: "",
      "left-mid": "",
      mid: "",
      "mid-mid": "",
      right: "",
      "right-mid": "",
      middle: " ",
    },
    // Its own colours are for dark terminals only.
    style: { head: [], border: [], "padding-left": 0, "padding-right": 1 },
  });
  for (const row of rows) drawn.push([nameOf(row), ...cells(row)]);
  return drawn.toString().split("\n");
}

function list({ columns, cells }: Section, rows: readonly Row[]): readonly string[] {
  const titles = columns.map((column) => column.replaceAll("\n", " "));
  return rows.flatMap((row) => {
    const found = cells(row).flatMap((cell, i) => (cell === DASH ? [] : [`  ${titles[i]}: ${cell}`]));
    return found.length === 0 ? [`${nameOf(row)}: ${DASH}`] : [nameOf(row), ...found];
  });
}

function nameOf(row: Row): string {
  return ranOtherwise(row) === null ? row.label : `${row.label} *`;
}

/** What ran, where that isn't what the name promises, or null. */
function ranOtherwise({ ran, pin }: Row): string | null {
  if (isSkipped(ran) || pin === null) return null;
  if (ran.scheme !== "io_uring" || ran.pin !== pin) return `ran ${ran.scheme} × ${ran.pin}`;
  if (pin === "per-io" || ran.registeredShare > 0.5) return null;
  return `${percent(1 - ran.registeredShare)} of the 4 KiB reads went per-io`;
}

/** Why something runs otherwise than asked, or isn't there: one line a reason, with all the rows that it concerns. */
function notes(rows: readonly Row[]): readonly string[] {
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
  return [...reasons].map(([reason, who]) => `${[...who].join("; ")}: ${reason}`);
}

function wrap(text: string, columns: number, indent = ""): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = indent + word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
