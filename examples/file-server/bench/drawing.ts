/** A picture of the memory that servers use over time: a panel for each, on the same scales. */

export interface Sample {
  readonly seconds: number;
  /** Everything that is charged to the server's cgroup, in bytes. */
  readonly used: number;
  readonly anonymous: number;
  readonly cache: number;
}

const WIDTH = 720;
const PANEL_HEIGHT = 150;
const PANEL_STEP = 215;
const LEFT = 70;
const TOP = 60;
const MIB = 2 ** 20;

const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-weight: 600; }
  .axis { stroke: #8b949e; fill: none; }
  .grid { stroke: #8b949e; stroke-opacity: 0.3; fill: none; }
  .limit { stroke: #cf222e; stroke-dasharray: 5 4; fill: none; }
  .limit-text { fill: #cf222e; }
  .anonymous { fill: #0969da; }
  .cache { fill: #bf8700; }
  .other { fill: #8b949e; fill-opacity: 0.6; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .limit { stroke: #ff7b72; }
    .limit-text { fill: #ff7b72; }
    .anonymous { fill: #58a6ff; }
    .cache { fill: #d29922; }
  }
`;

export function draw(runs: Readonly<Record<string, readonly Sample[]>>, limitBytes: number, said: string): string {
  const names = Object.keys(runs);
  const longest = Math.max(...names.flatMap((name) => runs[name]!.map(({ seconds }) => seconds)));
  const x = (seconds: number): number => LEFT + ((WIDTH - LEFT - 20) * seconds) / longest;
  const y = (bytes: number): number => PANEL_HEIGHT * (1 - bytes / (limitBytes * 1.125));
  const height = TOP + names.length * PANEL_STEP;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${said}">`,
    `<style>${STYLE}</style>`,
    `<text x="${LEFT}" y="20">${said}</text>`,
    ...[
      ["anonymous", "the process's own"],
      ["cache", "page cache"],
      ["other", "the kernel's"],
    ].map(
      ([name, text], i) =>
        `<rect class="${name}" x="${LEFT + i * 170}" y="32" width="12" height="12"/>` +
        `<text x="${LEFT + i * 170 + 18}" y="43">${text}</text>`,
    ),
  ];
  for (const [i, name] of names.entries()) {
    parts.push(`<g transform="translate(0 ${TOP + 25 + i * PANEL_STEP})">`);
    parts.push(...panel(name, runs[name]!, limitBytes, longest, x, y), "</g>");
  }
  return `${parts.join("\n")}\n</svg>\n`;
}

function panel(
  name: string,
  samples: readonly Sample[],
  limitBytes: number,
  longest: number,
  x: (seconds: number) => number,
  y: (bytes: number) => number,
): string[] {
  const end = samples.at(-1)!.seconds;
  const parts = [`<text class="title" x="${LEFT}" y="-6">${name}: ${end.toFixed(1)} s</text>`];
  for (let mib = 0; mib <= limitBytes / MIB; mib += 32) {
    const at = y(mib * MIB).toFixed(1);
    parts.push(`<path class="grid" d="M${LEFT} ${at}H${WIDTH - 20}"/>`);
    parts.push(`<text x="${LEFT - 8}" y="${Number(at) + 4}" text-anchor="end">${mib} MiB</text>`);
  }
  let below = samples.map(() => 0);
  for (const layer of ["anonymous", "cache", "other"] as const) {
    const above = samples.map((sample, i) => {
      const { used, anonymous, cache } = sample;
      return below[i]! + (layer === "other" ? Math.max(0, used - anonymous - cache) : sample[layer]);
    });
    const point = (bytes: number, i: number): string => `${x(samples[i]!.seconds).toFixed(1)} ${y(bytes).toFixed(1)}`;
    const path = [...above.map(point), ...below.map(point).reverse()].join("L");
    parts.push(`<path class="${layer}" d="M${path}Z"/>`);
    below = above;
  }
  parts.push(`<path class="limit" d="M${LEFT} ${y(limitBytes).toFixed(1)}H${WIDTH - 20}"/>`);
  parts.push(
    `<text class="limit-text" x="${WIDTH - 20}" y="${(y(limitBytes) - 4).toFixed(1)}" text-anchor="end">limit</text>`,
  );
  parts.push(`<path class="axis" d="M${LEFT} ${PANEL_HEIGHT}H${WIDTH - 20}"/>`);
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100].find((each) => longest / each <= 8) ?? 200;
  for (let at = 0; at <= longest; at = +(at + step).toFixed(1))
    parts.push(`<text x="${x(at).toFixed(1)}" y="${PANEL_HEIGHT + 18}" text-anchor="middle">${at} s</text>`);
  return parts;
}
