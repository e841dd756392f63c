/** A plot of recall and queries a second, as SVG that is readable on light and on dark pages. */

export interface Series {
  readonly name: string;
  /** Recall, and queries a second. */
  readonly points: readonly (readonly [number, number])[];
}

const [WIDTH, HEIGHT] = [720, 360];
const [LEFT, RIGHT, TOP, BOTTOM] = [70, 210, 20, 50];
const STYLE = `
text { font: 13px sans-serif; fill: #24292f; } .axis { stroke: #8c959f; } .grid { stroke: #8c959f; opacity: 0.3; }
.s0 { stroke: #0969da; fill: #0969da; } .s1 { stroke: #cf222e; fill: #cf222e; } .s2 { stroke: #6e7781; fill: #6e7781; }
.s3 { stroke: #8250df; fill: #8250df; }
polyline { fill: none !important; stroke-width: 2; } text.label { stroke: none; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .s0 { stroke: #58a6ff; fill: #58a6ff; }
.s1 { stroke: #ff7b72; fill: #ff7b72; } .s2 { stroke: #9ea7b3; fill: #9ea7b3; }
.s3 { stroke: #bc8cff; fill: #bc8cff; } }`;

export function plot(title: string, series: readonly Series[]): string {
  const points = series.flatMap((each) => each.points);
  const lowest = Math.floor(20 * Math.min(...points.map(([recall]) => recall))) / 20;
  const rates = points.map(([, rate]) => Math.log10(rate));
  const [least, most] = [Math.floor(Math.min(...rates)), Math.ceil(Math.max(...rates))];
  const span = Math.max(0.05, 1 - lowest);
  const x = (recall: number): string => (LEFT + ((recall - lowest) / span) * (WIDTH - LEFT - RIGHT)).toFixed(1);
  const y = (log: number): string =>
    (TOP + ((most - log) / Math.max(1, most - least)) * (HEIGHT - TOP - BOTTOM)).toFixed(1);
  const lines: string[] = [];
  for (let recall = lowest; recall <= 1.0001; recall += span > 0.3 ? 0.1 : span > 0.1 ? 0.05 : 0.01) {
    lines.push(`<line class="grid" x1="${x(recall)}" x2="${x(recall)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`);
    lines.push(`<text x="${x(recall)}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${recall.toFixed(2)}</text>`);
  }
  for (let log = least; log <= most; log++) {
    lines.push(`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(log)}" y2="${y(log)}"/>`);
    lines.push(`<text x="${LEFT - 8}" y="${Number(y(log)) + 4}" text-anchor="end">${10 ** log}</text>`);
  }
  for (const [i, { name, points }] of series.entries()) {
    const path = points.map(([recall, rate]) => [x(recall), y(Math.log10(rate))] as const);
    lines.push(`<polyline class="s${i}" points="${path.map((each) => each.join(",")).join(" ")}"/>`);
    for (const [cx, cy] of path) lines.push(`<circle class="s${i}" cx="${cx}" cy="${cy}" r="3"/>`);
    const label = TOP + 16 + 20 * i;
    lines.push(`<circle class="s${i}" cx="${WIDTH - RIGHT + 16}" cy="${label - 4}" r="4"/>`);
    lines.push(`<text class="label" x="${WIDTH - RIGHT + 26}" y="${label}">${name}</text>`);
  }
  const [middle, foot] = [(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
<title>${title}</title>
<style>${STYLE}</style>
${lines.join("\n")}
<text x="${middle}" y="${foot}" text-anchor="middle">recall@10</text>
<text x="14" y="${HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 ${HEIGHT / 2})">queries a second</text>
</svg>
`;
}
