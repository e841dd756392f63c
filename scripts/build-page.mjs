// Bundles the page into static files: packages/lab/dist/page. The model comes from dist, which is built before.
import { copyFileSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";

const here = path.join(import.meta.dirname, "../packages/lab/page");
const outdir = path.join(here, "../dist/page");
await build({
  absWorkingDir: here,
  entryPoints: ["main.tsx", "main.css", "machine-worker.ts"],
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
