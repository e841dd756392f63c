/**
 * Growth of figures along each list of a sweep, with the other lists at their first value: a table each and, on a
 * terminal, charts.
 */

import { bold, DASH, type Grid, renderGrid, type Style, TABLE_COLUMNS, wrap } from "@pinless/cli/command";
import { plot } from "simple-ascii-chart";
import type { PointReport, StudyReport } from "../what-if/study.js";
import type { Figures } from "../what-if/what-if-figures.js";
import { count, shortly } from "./what-if-units.js";

interface Metric {
  readonly title: string;
  of(figures: Figures, seconds: number): number;
}

const PAGES_PER_GIB = 2 ** 18;

const METRICS: readonly Metric[] = [
  { title: "requests, /s", of: (f) => f.requestsPerSecond },
  { title: "p99 of a request, µs", of: (f) => f.latency.p99Us },
  { title: "CPU a request, µs", of: (f) => f.cpuUsPerRequest },
  { title: "GiB that can't be moved", of: (f) => f.pinnedPages.mean / PAGES_PER_GIB },
  { title: "huge pages at rest, %", of: ({ hugePages: { atRest } }) => share(atRest.got, atRest.asked) },
  { title: "operations refused, %", of: refusedPercent },
  { title: "operations waited, ms/s", of: (f, seconds) => f.blocked.sumMs / seconds },
  { title: "looked up again, /s", of: (f, seconds) => (f.revalidations + f.leases.taken) / seconds },
];

const CHART_LINES = 8;

/** A point of a chart's line: its position in the chart, and its index. */
interface Point {
  readonly plotX: number;
  readonly plotY: number;
  readonly index: number;
}

function refusedPercent({ operations }: Figures): number {
  const all = Object.values(operations);
  const sum = (of: "refused" | "asked"): number => all.reduce((total, figures) => total + figures[of], 0);
  return share(sum("refused"), sum("asked"));
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : (100 * part) / whole;
}

export function renderGrowth(report: StudyReport, style: Style): readonly string[] {
  return report.swept.flatMap((field) => {
    const points = alongOf(report, field);
    if (points.length < 2) return [];
    const others = report.swept.filter((other) => other !== field);
    const fixed = others.map((other) => `${other} ${shortly(other, points[0]!.values[other]!)}`);
    const title = `Growth with ${field}${fixed.length === 0 ? "" : ` (${fixed.join(", ")})`}`;
    const lines = [...renderGrid({ title, ...tableOf(points, field) }, style), ""];
    if (style.charts && style.columns >= TABLE_COLUMNS) lines.push(...charts(points, field, style));
    return lines;
  });
}

/** Points that differ in this field only. */
function alongOf({ points, swept }: StudyReport, field: string): readonly PointReport[] {
  const first = points[0];
  return points.filter(({ values }) =>
    swept.every((other) => other === field || values[other] === first?.values[other]),
  );
}

function tableOf(points: readonly PointReport[], field: string): Pick<Grid, "columns" | "rows"> {
  const rows = METRICS.flatMap((metric) => {
    const found = points[0]!.designs.map(({ design }, i) => ({ design, values: valuesOf(points, metric, i) }));
    // A metric without values isn't shown.
    if (found.every(({ values }) => values.every((value) => value === 0))) return [];
    return found.map(({ design, values }) => {
      const [first, last] = [values[0]!, values.at(-1)!];
      const growth = first === 0 ? (last === 0 ? "" : DASH) : `×${count(last / first)}`;
      return { name: `${metric.title}  ${design}`, cells: [...values.map(count), growth] };
    });
  });
  return { columns: [...points.map(({ values }) => shortly(field, values[field]!)), "growth"], rows };
}

function valuesOf(points: readonly PointReport[], { of }: Metric, design: number): readonly number[] {
  return points.map((point) => of(point.designs[design]!, point.plan.run.seconds));
}

/** Draws a chart for each metric that changes along the list. */
function charts(points: readonly PointReport[], field: string, style: Style): readonly string[] {
  const names = points.map(({ values }) => shortly(field, values[field]!));
  const series = points[0]!.designs.map(({ design }) => design);
  return METRICS.flatMap((metric) => {
    const lines = series.map((_, i) => valuesOf(points, metric, i));
    if (lines.every((values) => Math.max(...values) <= 1.1 * Math.min(...values))) return [];
    const drawn = plot(
      lines.map((values) => values.map((value, x) => [x, value] as [number, number])),
      {
        width: Math.min(style.columns, 100) - 16,
        height: CHART_LINES,
        formatter: (value, { axis }) => (axis === "x" ? (names[value] ?? "") : count(value)),
        customXAxisTicks: names.map((_, x) => x),
        lineFormatter: marks(series),
      },
    );
    const legend = wrap(series.map((name) => `${markOf(name)}: ${name}`).join(", "), style.columns);
    return [bold(metric.title, style), ...drawn.split("\n").filter((line) => line.trim() !== ""), ...legend, ""];
  });
}

/**
 * Symbols of the lines: the first letter of each design, for readers without colours. Where lines meet, the last one's
 * symbol is shown.
 */
function marks(series: readonly string[]): (point: Point) => { x: number; y: number; symbol: string } {
  let line = -1;
  return ({ plotX, plotY, index }) => {
    // The chart library doesn't pass the line's number: lines are drawn in order, each beginning with index 0.
    if (index === 0) line++;
    return { x: plotX, y: plotY, symbol: markOf(series[line] ?? "*") };
  };
}

function markOf(name: string): string {
  return name[0]!;
}
