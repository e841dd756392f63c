// A node:test reporter for what the hazards measured (test/support/figure.ts). While they run it says on stderr which
// one it's at, since some take half a minute; then comes the table: in columns on a terminal, in Markdown where the
// output is kept. What failed or was skipped, and so has no row, is said after it.

const COLUMNS = { lease: "leases", lifetime: "registered for life", "per-io": "never registered" };
const WIDTH = Math.min(process.stdout.columns ?? 80, 100);

export default async function* harms(source) {
  const rows = new Map();
  const missing = [];
  const began = performance.now();
  let done = 0;
  for await (const { type, data } of source) {
    if (type === "test:start" && data.nesting === 0 && !data.name.endsWith(".js")) progress(began, done, data.name);
    if ((type === "test:pass" || type === "test:fail") && data.nesting === 0) done++;
    if (type === "test:fail") missing.push(`failed: ${data.name}`);
    if (type === "test:pass" && data.skip !== undefined) missing.push(`skipped: ${data.name}: ${data.skip}`);
    const figure = type === "test:diagnostic" && /^figure: (.*)$/.exec(data.message);
    if (!figure) continue;
    const { harm, column, value } = JSON.parse(figure[1]);
    rows.set(harm, { ...rows.get(harm), [column]: value });
  }
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  yield process.stdout.isTTY ? table(rows) : markdown(rows);
  // Not on stderr: there it would come before the table.
  if (missing.length > 0) yield `\n${missing.join("\n")}\n`;
}

/** One line that's written over on a terminal; elsewhere one for each. */
function progress(began, done, name) {
  const text = `${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${done} done, now: ${name}`;
  const columns = (process.stderr.columns ?? 80) - 1;
  const line = text.length > columns ? `${text.slice(0, columns - 1)}…` : text;
  process.stderr.write(process.stderr.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
}

function markdown(rows) {
  const line = (cells) => `| ${cells.join(" | ")} |\n`;
  const keys = Object.keys(COLUMNS);
  const head = line(["", ...Object.values(COLUMNS)]) + line(["", ...keys].map(() => "---"));
  return head + [...rows].map(([harm, values]) => line([harm, ...keys.map((key) => values[key] ?? "–")])).join("");
}

function table(rows) {
  const keys = Object.keys(COLUMNS);
  const heads = { lease: "leases", lifetime: "for life", "per-io": "never" };
  const widths = keys.map((key) =>
    Math.max(heads[key].length, ...[...rows.values()].map((values) => (values[key] ?? "–").length)),
  );
  const first = Math.max(20, WIDTH - widths.reduce((sum, width) => sum + width + 2, 0));
  const cells = (texts) => texts.map((text, i) => `  ${text.padStart(widths[i])}`).join("");
  const lines = [`${"registered:".padEnd(first)}${cells(keys.map((key) => heads[key]))}`];
  for (const [harm, values] of rows) {
    const [head, ...more] = wrapped(harm, first);
    lines.push(
      `${head.padEnd(first)}${cells(keys.map((key) => values[key] ?? "–"))}`,
      ...more.map((text) => `  ${text}`),
    );
  }
  return `${lines.join("\n")}\n`;
}

/** Lines after the first are indented by two. */
function wrapped(text, width) {
  const lines = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width - 2) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
