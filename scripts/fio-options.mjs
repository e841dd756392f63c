// Keeps the table of docs/fio.md as the table of options in packages/cli/src/fio/ has it: node scripts/fio-options.mjs
// [--write], after a build. Without --write the page only has to agree.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { optionTable } from "../packages/cli/dist/fio/job-options.js";

const page = path.join(import.meta.dirname, "../docs/fio.md");
const text = readFileSync(page, "utf8");
const wanted = text.replace(/(?<=<!-- options -->\n).*?(?=<!-- \/options -->)/s, () => `${optionTable()}\n`);

if (process.argv.includes("--write")) writeFileSync(page, wanted);
else if (text !== wanted) {
  console.error("docs/fio.md isn't what the table of options says: run node scripts/fio-options.mjs --write");
  process.exitCode = 1;
}
