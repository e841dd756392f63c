/** Bars of rates, and of what was left in the page cache, as SVG that is readable on light and on dark pages. */

export interface Bar {
  readonly name: string;
  readonly rate: number;
  /** MiB by which the page cache grew. */
  readonly cached: number;
}

const [WIDTH, NAMES, ROW] = [760, 330, 30];
const STYLE = `
text { font: 13px sans-serif; fill: #24292f; } .bar { fill: #0969da; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .bar { fill: #58a6ff; } }`;

export function bars(title: string, rows: readonly Bar[]): string {
  const most = Math.max(...rows.map(({ rate }) => rate));
  const lines = rows.map(({ name, rate, cached }, i) => {
    const y = 40 + i * ROW;
    const width = ((rate / most) * (WIDTH - NAMES - 270)).toFixed(1);
    const text = `${rate.toFixed(0)} MiB/s, page cache +${cached.toFixed(0)} MiB`;
    return `<text x="${NAMES - 10}" y="${y + 15}" text-anchor="end">${name}</text>
<rect class="bar" x="${NAMES}" y="${y}" width="${width}" height="20" rx="2"/>
<text x="${NAMES + Number(width) + 8}" y="${y + 15}">${text}</text>`;
  });
  const height = 50 + rows.length * ROW;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${title}">
<style>${STYLE}</style>
<text x="10" y="22">${title}</text>
${lines.join("\n")}
</svg>
`;
}
