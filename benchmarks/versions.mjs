// This tree's engine beside another version's: CPU time a request, in pairs of short turns.
//
//   node benchmarks/versions.mjs --other LOAD [--file FILE] [--ms 250] [--rounds 40] [--block 4096,131072]
//       [--depth 1,32,128]
//
// LOAD is load.mjs beside this file, in a built checkout of the other version with its dependencies. As root on a zram
// disk with ext4, as bench:engine; otherwise give it a file. Both versions have a process each; who goes first changes
// from round to round.

import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openBed } from "./beds.mjs";
import { loadProcess } from "./contenders.mjs";
import { median, quantile } from "./statistics.mjs";

const { values } = parseArgs({
  options: {
    other: { type: "string" },
    file: { type: "string" },
    ms: { type: "string", default: "250" },
    rounds: { type: "string", default: "40" },
    block: { type: "string", default: "4096,131072" },
    depth: { type: "string", default: "1,32,128" },
    load: { type: "string", default: "callback" },
  },
});
if (values.other === undefined) throw new Error("--other LOAD is missing: load.mjs of the other version, built");
const LOADS = { ours: join(import.meta.dirname, "load.mjs"), theirs: resolve(values.other) };
const WARM_UP_MS = 1000;

const bed = openBed({ file: values.file });
for (const block of values.block.split(",").map(Number))
  for (const depth of values.depth.split(",").map(Number)) await compare(block, depth);
bed.close();

async function compare(block, depth) {
  const row = { name: "versions", load: values.load, depth, block, file: bed.path };
  const [ours, theirs] = [loadProcess(LOADS.ours, row), loadProcess(LOADS.theirs, row)];
  try {
    for (const each of [ours, theirs]) {
      await each.ready;
      await each.run({ kind: "load", ms: WARM_UP_MS });
    }
    const rounds = [];
    for (let round = 0; round < Number(values.rounds); round++) {
      const turns = round % 2 === 0 ? [ours, theirs] : [theirs, ours];
      const figures = new Map();
      for (const each of turns) figures.set(each, await each.run({ kind: "load", ms: Number(values.ms) }));
      rounds.push({ ours: figures.get(ours), theirs: figures.get(theirs) });
    }
    const ratios = rounds.map((round) => round.ours.cpuUsPerIo / round.theirs.cpuUsPerIo);
    const at = (share) => quantile(ratios, share).toFixed(3);
    const cpu = (whose) => median(rounds.map((round) => round[whose].cpuUsPerIo)).toFixed(3);
    console.log(
      `${block} bytes, depth ${depth}: CPU µs a request ${cpu("ours")}, other ${cpu("theirs")}; ` +
        `ratio ${at(0.5)} (quartiles ${at(0.25)} to ${at(0.75)})`,
    );
  } finally {
    for (const each of [ours, theirs]) each.end();
  }
}
