/** Compares two reports, figure by figure. */

import { ReportError } from "../bench-error.js";
import { FORMAT, isSkipped, type Ran, type Report } from "../report-schema.js";
import { type Better, figuresOf } from "./catalog.js";

/** Limit on figures; a report of this version has some three hundred. */
const MOST_FIGURES = 10_000;
/** Difference that two runs on an idle machine have anyway (so do the rounds of one run). */
const SAME_WITHIN = 0.1;

export interface Compared {
  readonly row: string;
  readonly figure: string;
  readonly a: number;
  readonly b: number;
  /** Ratio of B to A; null if A is 0. */
  readonly ratio: number | null;
  readonly change: "better" | "worse" | "same";
}

export interface Comparison {
  readonly pinless: string;
  readonly format: typeof FORMAT;
  readonly a: string;
  readonly b: string;
  /** Differences between the two runs that may explain their figures. */
  readonly differences: readonly string[];
  readonly figures: readonly Compared[];
  readonly rowsOnlyInA: readonly string[];
  readonly rowsOnlyInB: readonly string[];
}

/** Parsed JSON with the name of its file. */
export interface ReportFile {
  readonly path: string;
  readonly value: unknown;
}

/** Parses a report. Throws `ReportError` if it isn't one, or has another format. */
function readReport({ path, value: found }: ReportFile): Report {
  const { pinless, format, rows } = (found ?? {}) as Record<string, unknown>;
  if (typeof pinless !== "string" || !Array.isArray(rows))
    throw new ReportError("ERR_BENCH_NOT_A_REPORT", `${path} isn't a report of pinless bench --json`);
  if (format !== FORMAT)
    throw new ReportError(
      "ERR_BENCH_FORMAT",
      `${path} has the format ${JSON.stringify(format) ?? "of before formats had numbers"} (pinless ${pinless}); ` +
        `this one compares format ${FORMAT}: run both with the same version`,
    );
  if (!isWhole(found as Report))
    throw new ReportError(
      "ERR_BENCH_NOT_A_REPORT",
      `${path} isn't a complete report: a figure is missing or wrong; write it again with pinless bench --json`,
    );
  return found as Report;
}

/** True if everything that is compared is there with the right type. */
function isWhole(report: Report): boolean {
  try {
    differences(report, report);
    const isName = (name: unknown): boolean => typeof name === "string" && name.length <= 200;
    const figures = figuresOf(report);
    return figures.length <= MOST_FIGURES && figures.every(({ row, value }) => isName(row) && Number.isFinite(value));
  } catch {
    return false;
  }
}

export function compareReports(fileA: ReportFile, fileB: ReportFile, version: string): Comparison {
  const [a, b] = [readReport(fileA), readReport(fileB)];
  const inB = new Map(figuresOf(b).map((figure) => [`${figure.row}\n${figure.figure}`, figure.value]));
  const figures = figuresOf(a).flatMap(({ row, figure, value, better }) => {
    const other = inB.get(`${row}\n${figure}`);
    if (other === undefined) return [];
    const ratio = value === 0 ? null : other / value;
    return [{ row, figure, a: value, b: other, ratio, change: changeOf(value, other, better) }];
  });
  return {
    pinless: version,
    format: FORMAT,
    a: fileA.path,
    b: fileB.path,
    differences: differences(a, b),
    figures,
    rowsOnlyInA: without(a, b),
    rowsOnlyInB: without(b, a),
  };
}

function changeOf(a: number, b: number, better: Better): Compared["change"] {
  if (Math.abs(b - a) <= SAME_WITHIN * Math.max(Math.abs(a), Math.abs(b))) return "same";
  return b > a === (better === "higher") ? "better" : "worse";
}

/** Rows, and figures of common rows, that only the first report has. */
function without(a: Report, b: Report): readonly string[] {
  const rows = new Set(figuresOf(b).map(({ row }) => row));
  const both = new Set(figuresOf(b).map(({ row, figure }) => `${row}: ${figure}`));
  const missing = figuresOf(a).map(({ row, figure }) => (rows.has(row) ? `${row}: ${figure}` : row));
  return [...new Set(missing)].filter((name) => !both.has(name));
}

const MACHINE = [
  "kernel",
  "arch",
  "node",
  "cpu",
  "cpus",
  "memoryBytes",
  "user",
  "memlockBytes",
  "ioUringDisabled",
] as const;
const SWITCHES = ["hugePages", "numaNodes", "swap"] as const;
const SETTINGS = [
  "file",
  "fileBytes",
  "filesystem",
  "inFlight",
  "sliceMs",
  "stormEveryMs",
  "seconds",
  "quick",
] as const;
const RAN = ["scheme", "pin", "direct", "registeredShare", "hugeShare"] as const;

function shown(json: string | undefined): string {
  if (json === undefined) return "nothing";
  return json.length > 200 ? `${json.slice(0, 200)}…` : json;
}

function differences(a: Report, b: Report): readonly string[] {
  const changed = <T extends object>(of: string, names: readonly (keyof T & string)[], x: T, y: T): readonly string[] =>
    names.flatMap((name) => {
      const [before, after] = [JSON.stringify(x[name]), JSON.stringify(y[name])];
      return before === after ? [] : [`${of}${name}: ${shown(before)} in A, ${shown(after)} in B`];
    });
  return [
    ...(a.pinless === b.pinless ? [] : [`pinless: ${a.pinless} in A, ${b.pinless} in B`]),
    ...changed("", [...MACHINE, ...SWITCHES], a.machine, b.machine),
    ...changed("", SETTINGS, a.settings, b.settings),
    ...a.rows.flatMap((row) => {
      const other = b.rows.find(({ name }) => name === row.name);
      if (other === undefined || isSkipped(row.ran) || isSkipped(other.ran)) return [];
      return changed<Ran>(`${row.name}, ran `, RAN, row.ran, other.ran);
    }),
  ];
}
