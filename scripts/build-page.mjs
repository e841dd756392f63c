// Bundles the page into static files: packages/lab/dist/page. The model comes from dist, which is built before.
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const here = path.join(import.meta.dirname, "../packages/lab/page");
const outdir = path.join(here, "../dist/page");
await build({
  absWorkingDir: here,
  entryPoints: ["main.tsx", "main.css", "machine-worker.ts", "traces/trace-worker.ts"],
  entryNames: "[name]",
  define: { INVARIANT_TEXTS: JSON.stringify(invariantTexts()) },
  outdir,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  legalComments: "none",
  logLevel: "warning",
});
copyFileSync(path.join(here, "index.html"), path.join(outdir, "index.html"));

// Counterexamples of mutants, which a test replays: finding them anew takes longer than the rest of the build.
const { library } = await import("../packages/lab/dist-mutants/index.js");
const SHIPPED = path.join(here, "traces/shipped");
const shipped = readdirSync(SHIPPED).map((file) => file.replace(/\.itf\.json$/, ""));
for (const name of shipped)
  copyFileSync(path.join(SHIPPED, `${name}.itf.json`), path.join(outdir, `trace-${name}.itf.json`));
const listed = shipped.map((name) => ({ name, leavesOut: library.named(name).leavesOut }));
writeFileSync(path.join(outdir, "traces.json"), JSON.stringify(listed));

/** Reads ARCHITECTURE.md's list of invariants: sentences by name. */
function invariantTexts() {
  const text = readFileSync(path.join(import.meta.dirname, "../ARCHITECTURE.md"), "utf8");
  return Object.fromEntries([...text.matchAll(/^- `([A-Z_]+)`: (.+)$/gm)].map(([, name, says]) => [name, says]));
}
