// The report of bench:engine: what was measured on each bed, as tables and as JSON.

import { cpus, loadavg, release } from "node:os";
import { median, quantile } from "./statistics.mjs";

/** A machine in the state that it's in: its load says how far to trust figures. */
export const machine = () => ({
  cpu: `${cpus().length} × ${cpus()[0].model}`,
  kernel: release(),
  node: process.version,
  load: loadavg().map((each) => Number(each.toFixed(1))),
});

/**
 * A row's figures: medians of its rounds, and its ratios to C's loop in the same round, as { median, from, to } where
 * half of the rounds lie between from and to.
 */
export function figuresOf(rounds, ofC) {
  const middle = (field) => median(rounds.map((round) => round[field]));
  const sum = (field) => rounds.reduce((total, round) => total + round[field], 0);
  const ratio = (field) => {
    const ratios = rounds.map((round, i) => round[field] / ofC[i][field]);
    return { median: median(ratios), from: quantile(ratios, 0.25), to: quantile(ratios, 0.75) };
  };
  const cpuUsPerIo = middle("cpuUsPerIo");
  // The kernel divides CPU time by what it found at its ticks, so a single round's parts say little.
  const userUsPerIo = (cpuUsPerIo * sum("userUsPerIo")) / sum("cpuUsPerIo");
  return {
    iops: middle("iops"),
    cpuUsPerIo,
    userUsPerIo,
    systemUsPerIo: cpuUsPerIo - userUsPerIo,
    toC: { iops: ratio("iops"), cpu: ratio("cpuUsPerIo") },
  };
}

const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));
const spread = ({ median: middle, from, to }) => `${middle.toFixed(2)} (${from.toFixed(2)}–${to.toFixed(2)})`;

/** Titles of the table's columns, and their text by row. */
const COLUMNS = {
  row: ({ name }) => name,
  "reads/s": ({ iops }) => number(iops, 0).replace(/\B(?=(\d{3})+$)/g, ","),
  "of C's": ({ toC }) => spread(toC.iops),
  "CPU µs (user + system)": (row) =>
    `${number(row.cpuUsPerIo, 2)} (${number(row.userUsPerIo, 2)} + ${number(row.systemUsPerIo, 2)})`,
  "times C's CPU": ({ toC }) => spread(toC.cpu),
  "p50 µs": ({ p50Us }) => number(p50Us, 0),
  "p99 µs": ({ p99Us }) => number(p99Us, 0),
  "p99.9 µs": ({ p999Us }) => number(p999Us, 0),
  "system calls": ({ systemCallsPerIo }) => number(systemCallsPerIo, 2),
  "garbage B": ({ garbageBytesPerIo }) => number(garbageBytesPerIo, 0),
  "1 ms ticks": ({ ticksKept }) => (ticksKept === undefined ? "–" : `${number(100 * ticksKept, 0)} %`),
};

/** Rows of a bed as a table in Markdown, each a request's share but for the rate; then what ran, and what couldn't. */
export function tableOf(rows) {
  const measured = rows.filter(({ missing }) => missing === undefined);
  const cells = [Object.keys(COLUMNS), ...measured.map((row) => Object.values(COLUMNS).map((text) => text(row)))];
  const widths = cells[0].map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  const line = (texts) => `| ${texts.map((text, i) => text.padEnd(widths[i])).join(" | ")} |`;
  const [titles, ...body] = cells.map(line);
  const table = [titles, line(widths.map((width) => "-".repeat(width))), ...body];
  const said = new Map();
  for (const { name, ran, missing } of rows) {
    const text = missing === undefined ? ran : `not measured: ${missing}`;
    said.set(text, [...(said.get(text) ?? []), name]);
  }
  const ran = [...said].map(([text, names]) => `- ${text} (${names.join(", ")})`);
  return [...table, "", "What ran:", "", ...ran].join("\n");
}
