/** Distribution of the time that invalidations waited for I/O: bars on a terminal, otherwise a list. */

import { bold, type Style, TABLE_COLUMNS, wrap } from "../../command/grid.js";
import { isSkipped, type Row, type WaitFigures } from "../report-schema.js";

const BARS = " ▁▂▃▄▅▆▇█";

export function renderWaits(rows: readonly Row[], nameOf: (row: Row) => string, style: Style): readonly string[] {
  const found = rows.flatMap((row) => (isSkipped(row.storm4KiB) ? [] : [{ row, waits: row.storm4KiB.waits }]));
  if (found.length === 0) return [];
  const title = wrap("How long memory operations waited for I/O in the storm", style.columns).map((l) =>
    bold(l, style),
  );
  if (!style.charts || style.columns < TABLE_COLUMNS)
    return [
      ...title,
      ...found.flatMap(({ row, waits }) => wrap(`${nameOf(row)}: ${inWords(waits)}`, style.columns, "  ")),
    ];
  const used = found[0]!.waits.buckets.map((_, i) => found.some(({ waits }) => waits.buckets[i]!.count > 0));
  const [first, last] = [used.indexOf(true), used.lastIndexOf(true)];
  const width = Math.max(...found.map(({ row }) => nameOf(row).length));
  const cells = ({ buckets }: WaitFigures): string => {
    const most = Math.max(1, ...buckets.map(({ count }) => count));
    // Every non-empty bucket is shown.
    return buckets
      .slice(first, last + 1)
      .map(({ count }) => BARS[Math.ceil((count / most) * (BARS.length - 1))]!.repeat(2))
      .join(" ");
  };
  const bounds = found[0]!.waits.buckets.slice(first, last + 1);
  const scale =
    `one bar from ${bound(found[0]!.waits.buckets[first - 1]?.belowMs ?? 0)}, each twice as long, to ` +
    `${bound(bounds.at(-1)!.belowMs)}`;
  return [
    ...title,
    ...found.map(({ row, waits }) => `${nameOf(row).padEnd(width)}  ${cells(waits)}  ${summary(waits)}`),
    `${" ".repeat(width)}  ${scale}`,
  ].flatMap((line) => (line.length <= style.columns ? [line] : [line.slice(0, style.columns)]));
}

function inWords(waits: WaitFigures): string {
  const some = waits.buckets.filter(({ count }) => count > 0);
  return [...some.map(({ belowMs, count }) => `below ${bound(belowMs)} ${count},`), summary(waits)].join(" ");
}

function summary({ p50Ms, p99Ms, maxMs }: WaitFigures): string {
  return `p50 ${bound(p50Ms)}, p99 ${bound(p99Ms)}, max ${bound(maxMs)}`;
}

function bound(ms: number | null): string {
  if (ms === null) return "any time";
  return ms < 1 ? `${Math.round(ms * 1000)} µs` : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}
