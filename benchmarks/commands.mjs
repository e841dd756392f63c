// pinless cp beside cp and dd, and pinless sum beside sha256sum, with a cold page cache: seconds, MiB/s, and how much
// of the files the page cache has afterwards.
//
//   node benchmarks/commands.mjs [--folder /var/tmp] [--mib 2048] [--rounds 3]
//
// The folder is on the disk to be measured. Contenders take turns; medians. pinless cp brings the copy to the device,
// so cp stands there twice: alone, and with an fsync after it. The four files that are summed have a quarter each.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { untilExit } from "./beds.mjs";
import { cachedMib, drop, makeFile } from "./cold-files.mjs";
import { machine } from "./report.mjs";
import { median } from "./statistics.mjs";

const { values } = parseArgs({
  options: {
    folder: { type: "string", default: "/var/tmp" },
    mib: { type: "string", default: "2048" },
    rounds: { type: "string", default: "3" },
  },
});
const mib = Number(values.mib);
const folder = mkdtempSync(join(values.folder, "pinless-commands-"));
untilExit(() => rmSync(folder, { recursive: true, force: true }));
const file = join(folder, "file");
const copy = join(folder, "copy");
const four = [1, 2, 3, 4].map((i) => join(folder, `part${i}`));
const pinless = `'${process.execPath}' '${new URL("../packages/cli/dist/main.js", import.meta.url).pathname}'`;

const JOBS = {
  [`copy of ${mib} MiB`]: {
    files: [file, copy],
    contenders: {
      "pinless cp": `${pinless} cp ${file} ${copy}`,
      cp: `cp ${file} ${copy}`,
      "cp and sync": `cp ${file} ${copy} && sync ${copy}`,
      "dd direct, 1 MiB": `dd if=${file} of=${copy} iflag=direct oflag=direct bs=1M status=none`,
    },
  },
  [`checksums of 4 × ${mib / 4} MiB`]: {
    files: four,
    contenders: {
      "pinless sum": `${pinless} sum ${four.join(" ")}`,
      "sha256sum, two at a time": `printf '%s\\n' ${four.join(" ")} | xargs -P 2 -n 1 sha256sum`,
      "pinless sum -a blake3": `${pinless} sum -a blake3 ${four.join(" ")}`,
    },
  },
};

function measured(command, files) {
  rmSync(copy, { force: true });
  // The blocks of the copy before are discarded now, not while this contender runs.
  execFileSync("sync", ["-f", folder]);
  for (const each of files) if (each !== copy) drop(each);
  const began = performance.now();
  execFileSync("sh", ["-c", command], { stdio: ["ignore", "ignore", "inherit"] });
  const seconds = (performance.now() - began) / 1000;
  return { seconds, cached: files.reduce((sum, each) => sum + cachedMib(each), 0) };
}

makeFile(file, mib * 2 ** 20);
for (const each of four) makeFile(each, (mib / 4) * 2 ** 20);
console.log(`${JSON.stringify(machine())}\n`);
for (const [job, { files, contenders }] of Object.entries(JOBS)) {
  const found = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < Number(values.rounds); round++)
    for (const [name, command] of Object.entries(contenders)) found[name].push(measured(command, files));
  console.log(`| ${job} | s | MiB/s | in the page cache |\n|---|---|---|---|`);
  for (const [name, rounds] of Object.entries(found)) {
    const seconds = median(rounds.map((each) => each.seconds));
    const cached = median(rounds.map((each) => each.cached));
    console.log(`| ${name} | ${seconds.toFixed(2)} | ${(mib / seconds).toFixed(0)} | ${cached.toFixed(0)} MiB |`);
  }
  console.log("");
}
