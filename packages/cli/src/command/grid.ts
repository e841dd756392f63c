/** Tables of text: columns if there is room for them, otherwise lists. */

import Table from "cli-table3";

export const DASH = "–";
/** Width below which every row becomes a list. */
export const TABLE_COLUMNS = 76;

export interface Style {
  readonly columns: number;
  readonly colors: boolean;
  /** True if bars may be drawn, because the output is a terminal. */
  readonly charts: boolean;
}

export interface Grid {
  readonly title: string;
  /** Columns except the first, which has the names. */
  readonly columns: readonly string[];
  readonly rows: readonly { readonly name: string; readonly cells: readonly string[] }[];
}

export function renderGrid(grid: Grid, style: Style): readonly string[] {
  const body = style.columns >= TABLE_COLUMNS ? tables(grid, style.columns) : list(grid, style.columns);
  return [...wrap(grid.title, style.columns).map((line) => bold(line, style)), ...body];
}

/** Puts as many columns beside the names as fit, and the others below, with the names repeated. */
function tables(grid: Grid, width: number): readonly string[] {
  const lines: string[] = [];
  for (let first = 0; first < grid.columns.length; ) {
    let last = grid.columns.length;
    let drawn = table(grid, first, last);
    while (last > first + 1 && drawn.some((line) => line.length > width)) drawn = table(grid, first, --last);
    // A single column can't be divided further.
    if (drawn.some((line) => line.length > width)) return list(grid, width);
    lines.push(...(first === 0 ? [] : [""]), ...drawn);
    first = last;
  }
  return lines;
}

/** Renders the columns `first` to `last - 1`. */
function table(grid: Grid, first: number, last: number): readonly string[] {
  const columns = grid.columns.slice(first, last);
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
    // The default colours are for dark terminals only.
    style: { head: [], border: [], "padding-left": 0, "padding-right": 1 },
  });
  for (const { name, cells } of grid.rows) drawn.push([name, ...cells.slice(first, last)]);
  return drawn
    .toString()
    .split("\n")
    .map((line) => line.trimEnd());
}

function list({ columns, rows }: Grid, width: number): readonly string[] {
  const titles = columns.map((column) => column.replaceAll("\n", " "));
  return rows.flatMap(({ name, cells }) => {
    const found = cells.flatMap((cell, i) => {
      if (cell === DASH || cell === "") return [];
      const text = titles[i] === "" ? cell : `${titles[i]}: ${cell}`;
      return wrap(text, width - 2, "  ").map((line) => `  ${line}`);
    });
    return found.length === 0 ? [`${name}: ${DASH}`] : [name, ...found];
  });
}

export function bold(text: string, { colors }: Style): string {
  return colors ? `\x1b[1m${text}\x1b[22m` : text;
}

/**
 * Wraps text at spaces. The first line begins with `first`, the others with `indent`. A word longer than a line is kept
 * whole, so that it can be copied, unless `cutsWords` is set.
 */
export function wrap(
  text: string,
  columns: number,
  indent = "",
  { first = "", cutsWords = false }: { readonly first?: string; readonly cutsWords?: boolean } = {},
): string[] {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
    while (cutsWords && line.length > columns) {
      lines.push(line.slice(0, columns));
      line = indent + line.slice(columns);
    }
  }
  return [...lines, line];
}

/** Joins lines; the text ends with a newline. */
export function textOf(lines: readonly string[]): string {
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}
