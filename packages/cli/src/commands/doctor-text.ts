/** Renders findings as text: a line each with a mark, and below it what to change. */

import { bytesText } from "../command/figures.js";
import { type Style, wrap } from "../command/grid.js";
import { printable } from "../command/printable.js";
import type { Examination, Findings } from "../doctor/examine.js";
import type { Finding, Verdict } from "../doctor/finding.js";

type TextStyle = Omit<Style, "charts">;

const LABELS: Readonly<Record<keyof Findings, string>> = {
  node: "Node",
  ioUring: "io_uring",
  revocation: "revocation",
  aio: "Linux AIO",
  directIo: "O_DIRECT",
  directWrites: "writes",
  memlock: "memlock",
  hugePages: "huge pages",
  swap: "swap",
  numa: "NUMA",
  pressure: "pressure",
  userfaultfd: "userfaultfd",
  container: "container",
  pins: "pins",
  engine: "engine",
  bench: "bench",
};

const MARKS: Readonly<Record<Verdict, string>> = { ok: "✓", degraded: "!", missing: "✗" };
/** Green, yellow and red. */
const COLORS: Readonly<Record<Verdict, number>> = { ok: 32, degraded: 33, missing: 31 };
const LABEL_COLUMNS = Math.max(...Object.values(LABELS).map((label) => label.length));
/** Width below which a finding has its own line under its name. */
const WIDE_COLUMNS = 64;
/** Minimum width; a narrower terminal wraps by itself. */
const MIN_COLUMNS = 24;

/** Renders the examination; ends with a newline, and has no control characters except for colours. */
export function renderExamination({ path, kernel, uid, findings, canRun }: Examination, wanted: TextStyle): string {
  const style = { ...wanted, columns: Math.max(MIN_COLUMNS, wanted.columns) };
  const lines = wrapAll(`Linux ${kernel}, uid ${uid}, direct I/O at ${path}`, style.columns, "", "  ");
  lines.push("");
  const said = new Set<string>();
  for (const [name, finding] of Object.entries(findings) as [keyof Findings, Finding][]) {
    lines.push(...findingLines(LABELS[name], finding, said, style));
    if (name === "pins") lines.push(...processLines(findings, style));
  }
  const verdicts = Object.values(findings).map(({ verdict }) => verdict);
  const lacking = verdicts.filter((verdict) => verdict !== "ok").length;
  const end = canRun ? "pinless runs here" : "pinless bench can't run here";
  lines.push(
    "",
    ...wrapAll(`${end}; ${lacking} of ${verdicts.length} findings could be better`, style.columns, "", "  "),
  );
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}

/** Lines of a finding. A remedy that was printed before isn't repeated. */
function findingLines(
  label: string,
  { verdict, found, remedies }: Finding,
  said: Set<string>,
  style: TextStyle,
): string[] {
  const wide = style.columns >= WIDE_COLUMNS;
  const mark = style.colors ? `\x1b[${COLORS[verdict]}m${MARKS[verdict]}\x1b[39m` : MARKS[verdict];
  const indent = " ".repeat(wide ? LABEL_COLUMNS + 3 : 2);
  const [first = "", ...rest] = wrapAll(found, style.columns, indent, indent);
  const head = wide ? `${mark} ${label.padEnd(LABEL_COLUMNS)} ${first.trimStart()}` : `${mark} ${label}`;
  const lines = wide ? [head, ...rest] : [head, first, ...rest];
  for (const remedy of remedies) {
    if (said.has(remedy)) continue;
    said.add(remedy);
    lines.push(...wrapAll(remedy, style.columns, `${indent}→ `, `${indent}  `));
  }
  return lines;
}

function processLines({ pins }: Findings, { columns }: TextStyle): string[] {
  const indent = " ".repeat(columns >= WIDE_COLUMNS ? LABEL_COLUMNS + 3 : 2);
  return pins.processes.flatMap(({ pid, name, uid, user, pinnedBytes }) =>
    wrapAll(
      `${bytesText(pinnedBytes)} by ${name}, pid ${pid}, ${user ?? `uid ${uid}`}`,
      columns,
      indent,
      `${indent}  `,
    ),
  );
}

/** Wraps text and cuts words that are longer than a line, since process names and paths can be anything. */
function wrapAll(text: string, columns: number, first: string, indent: string): string[] {
  return wrap(printable(text), columns, indent, { first, cutsWords: true });
}
