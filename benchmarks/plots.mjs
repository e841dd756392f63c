// Plots of bench:growth, as one SVG: a panel for each series, with each value's ratio to the first. It follows the
// reader's light or dark theme.

const PANEL = { width: 280, height: 178, left: 34, right: 10, top: 42, bottom: 22 };
const COLUMNS = 3;
/** Ratios from 0 to here are drawn; a larger one stands at the edge, with its number. */
const MOST = 1.5;
const LINES = [
  { field: "reads", name: "reads a second", shift: -5 },
  { field: "cpuUs", name: "CPU time a read", shift: 5 },
];

const STYLE = `
  text { font: 11px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600 }
  .grid { stroke: #ddd } .one { stroke: #999 }
  .reads { stroke: #0b62c4; fill: #0b62c4 } .cpuUs { stroke: #b3470b; fill: #b3470b }
  path { fill: none !important; stroke-width: 1.5 } .cpuUs { stroke-dasharray: 4 3 }
  circle, .spread { stroke-dasharray: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .grid { stroke: #333 } .one { stroke: #888 }
    .reads { stroke: #6cb2ff; fill: #6cb2ff } .cpuUs { stroke: #ff9d5c; fill: #ff9d5c }
  }
`;

const inner = PANEL.height - PANEL.top - PANEL.bottom;
const yOf = (ratio) => PANEL.top + inner * (1 - Math.min(ratio, MOST) / MOST);
const text = (x, y, words, more = "") => `<text x="${x}" y="${y}" ${more}>${words}</text>`;

function lineOf({ field, shift }, rows, xOf) {
  const at = (i) => xOf(i) + shift;
  const path = rows.map(({ to }, i) => `${i === 0 ? "M" : "L"}${at(i)} ${yOf(to[field].median).toFixed(1)}`).join("");
  const marks = rows.map(({ to }, i) => {
    const { median, from, to: until } = to[field];
    const beyond = median > MOST ? text(at(i), yOf(MOST) - 5, median.toFixed(1), 'text-anchor="middle"') : "";
    const spread = `<path class="spread" d="M${at(i)} ${yOf(from).toFixed(1)}V${yOf(until).toFixed(1)}"/>`;
    return `${spread}<circle cx="${at(i)}" cy="${yOf(median).toFixed(1)}" r="2.5"/>${beyond}`;
  });
  return `<g class="${field}"><path d="${path}"/>${marks.join("")}</g>`;
}

function panelOf({ asks, rows }, i) {
  const { width, height, left, right, top, bottom } = PANEL;
  const xOf = (at) => left + ((width - left - right) * (at + 0.5)) / rows.length;
  const grid = [0, 0.5, 1, 1.5].map(
    (ratio) =>
      `<path class="${ratio === 1 ? "one" : "grid"}" d="M${left} ${yOf(ratio)}H${width - right}"/>` +
      text(left - 6, yOf(ratio) + 4, ratio, 'text-anchor="end"'),
  );
  const names = rows.map(({ name }, at) => text(xOf(at), height - bottom + 15, name, 'text-anchor="middle"'));
  const lines = LINES.map((line) => lineOf(line, rows, xOf));
  const place = `translate(${(i % COLUMNS) * width} ${Math.floor(i / COLUMNS) * height})`;
  const title = text(left, top - 22, asks, 'class="title"');
  return `<g transform="${place}">${title}${[...grid, ...lines, ...names].join("")}</g>`;
}

/** All series of a report, and under them the names of the two lines. */
export function plotsOf(report) {
  const width = PANEL.width * Math.min(COLUMNS, report.length);
  const height = PANEL.height * Math.ceil(report.length / COLUMNS) + 20;
  const legend = LINES.map(
    ({ field, name }, i) =>
      `<g class="${field}"><path d="M${34 + 160 * i} ${height - 10}h24"/></g>${text(64 + 160 * i, height - 6, name)}`,
  );
  const panels = report.map(panelOf);
  const all = [`<style>${STYLE}</style>`, ...panels, ...legend].join("\n");
  const names = 'role="img" aria-label="Ratios to the first value of each series"';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${names}>${all}</svg>\n`;
}
