// readFile beside FileHandle's: a large file from the disk, and from the page cache.
//
//   node benchmarks/read-file.mjs [--file FILE] [--mib 150] [--rounds 15] [--scheme io_uring]
//
// As root on a zram disk with ext4, as bench:engine; otherwise give it a file of that size on a filesystem with direct
// I/O. Medians of runs in turns, in one process; before each from the disk the file's pages are dropped from the page
// cache.

import { execFileSync } from "node:child_process";
import { truncateSync } from "node:fs";
import { open } from "node:fs/promises";
import { parseArgs } from "node:util";
import { Engine } from "../packages/pinless/dist/index.js";
import { openBed } from "./beds.mjs";
import { median } from "./statistics.mjs";

const { values } = parseArgs({
  options: {
    file: { type: "string" },
    mib: { type: "string", default: "150" },
    rounds: { type: "string", default: "15" },
    scheme: { type: "string", default: "io_uring" },
  },
});
const bytes = Number(values.mib) * 2 ** 20;
const bed = openBed({ file: values.file });
if (values.file === undefined) truncateSync(bed.path, bytes);
console.table({ "from the disk": await compare(true), "from the page cache": await compare(false) });
bed.close();

async function compare(cold) {
  const engine = await Engine.open({ scheme: values.scheme });
  const found = { ours: [], theirs: [] };
  for (let round = 0; round <= Number(values.rounds); round++) {
    const ours = await timed(cold, (path) => engine.openFile(path));
    const theirs = await timed(cold, (path) => open(path));
    // The first of each makes staging memory, and code.
    if (round > 0) found.ours.push(ours);
    if (round > 0) found.theirs.push(theirs);
  }
  const { bounced, buffered } = engine.stats();
  await engine.close();
  const of = (whose, what) => median(found[whose].map((each) => each[what])).toFixed(1);
  const ratio = (what) => median(found.ours.map((each, i) => each[what] / found.theirs[i][what])).toFixed(2);
  return {
    "ours ms": of("ours", "ms"),
    "node:fs ms": of("theirs", "ms"),
    ratio: ratio("ms"),
    "ours CPU ms": of("ours", "cpuMs"),
    "node:fs CPU ms": of("theirs", "cpuMs"),
    "ratio of CPU": ratio("cpuMs"),
    bounced,
    buffered,
  };
}

async function timed(cold, opened) {
  // Two reads fill the page cache: what is read once is the first to go again.
  if (cold) execFileSync("dd", [`of=${bed.path}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
  else execFileSync("cat", [bed.path], { stdio: "ignore" });
  const file = await opened(bed.path);
  globalThis.gc?.();
  const cpu = process.cpuUsage();
  const began = performance.now();
  const data = await file.readFile();
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  await file.close();
  if (data.byteLength !== bytes) throw new Error(`${data.byteLength} bytes`);
  return { ms, cpuMs: (user + system) / 1000 };
}
