// A node:test reporter that prints what the hazards measured (test/support/figure.ts) as a table in Markdown; what failed or was skipped,
// and so has no row, goes to stderr.
const COLUMNS = { lease: "leases", lifetime: "registered for life", "per-io": "never registered" };

export default async function* harms(source) {
  const rows = new Map();
  for await (const { type, data } of source) {
    if (type === "test:fail") console.error(`failed: ${data.name}`);
    if (type === "test:pass" && data.skip !== undefined) console.error(`skipped: ${data.name}: ${data.skip}`);
    const figure = type === "test:diagnostic" && /^figure: (.*)$/.exec(data.message);
    if (!figure) continue;
    const { harm, column, value } = JSON.parse(figure[1]);
    rows.set(harm, { ...rows.get(harm), [column]: value });
  }
  const line = (cells) => `| ${cells.join(" | ")} |\n`;
  const columns = Object.entries(COLUMNS);
  yield line(["", ...columns.map(([, title]) => title)]);
  yield line(["", ...columns].map(() => "---"));
  for (const [harm, values] of rows) yield line([harm, ...columns.map(([column]) => values[column] ?? "–")]);
}
