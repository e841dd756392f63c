/** Renders a comparison as text. */

import { DASH, renderGrid, type Style, textOf, wrap } from "../../command/grid.js";
import type { Compared, Comparison } from "./comparison.js";

const SIGNS: Readonly<Record<Compared["change"], string>> = { better: "better", worse: "worse", same: "" };

/** Renders the comparison; ends with a newline, and has no control characters except for colours. */
export function renderComparison(comparison: Comparison, style: Style): string {
  const { a, b, figures, differences, rowsOnlyInA, rowsOnlyInB } = comparison;
  const say = (text: string): readonly string[] => wrap(text, style.columns, "  ");
  const lines: string[] = [...say(`A: ${a}`), ...say(`B: ${b}`), ""];
  for (const difference of differences) lines.push(...say(`Note: ${difference}`));
  if (differences.length > 0) lines.push("");
  for (const row of new Set(figures.map((figure) => figure.row))) {
    const rows = figures
      .filter((figure) => figure.row === row)
      .map((figure) => ({
        name: figure.figure,
        cells: [number(figure.a), number(figure.b), ratioOf(figure), SIGNS[figure.change]],
      }));
    lines.push(...renderGrid({ title: row, columns: ["A", "B", "B/A", ""], rows }, style), "");
  }
  for (const name of rowsOnlyInA) lines.push(...say(`Only in A: ${name}`));
  for (const name of rowsOnlyInB) lines.push(...say(`Only in B: ${name}`));
  const counted = (change: Compared["change"]): number => figures.filter((figure) => figure.change === change).length;
  lines.push(
    ...say(
      `${counted("better")} figures are better in B, ${counted("worse")} worse, ${counted("same")} the same ` +
        "within a tenth",
    ),
  );
  return textOf(lines);
}

function ratioOf({ ratio, a, b }: Compared): string {
  if (ratio !== null) return ratio.toFixed(2);
  return a === b ? "1.00" : DASH;
}

function number(value: number): string {
  const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 3;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}
