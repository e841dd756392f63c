// The engine beside the tightest loop of C, fio and node:fs: random reads on beds that complete inside the submitting
// call, and later.
//
//   npm run bench:engine -- [--bed zram,loop] [--file FILE] [--only PART-OF-A-NAME,…] [--rounds 7] [--ms 150]
//                           [--json FILE]
//
// All rows of a load run in turns, so that a ratio to C is one of neighbours in time; latencies, garbage and system
// calls have runs of their own after that. Without --only it takes under five minutes. --only takes rows by parts of
// their names, and also those that don't run otherwise: "per-io", "residency", "discards/s", "aio", "direct",
// "cached" (rows.mjs).
// As root it makes beds on zram and on a loop device over tmpfs, and removes them again. --file is a bed of its own: a
// file of at least 64 MiB on a filesystem with direct I/O. Needs cc and liburing (liburing-dev); fio, and perf for the
// count of system calls, if they're there.

import { rmSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { openBed, scratchFolder, untilExit } from "./beds.mjs";
import { compileYardstick, openContender } from "./contenders.mjs";
import { figuresOf, machine, tableOf } from "./report.mjs";
import { rowsOf } from "./rows.mjs";
import { howCounted } from "./system-calls.mjs";

const { beds, rows, rounds, ms, file, json } = taken();
const folder = scratchFolder();
untilExit(() => rmSync(folder, { recursive: true }));
compileYardstick(folder);

const began = Date.now();
const report = { date: new Date(began).toISOString(), machine: machine(), rounds, ms, howCounted, beds: [] };
for (const kind of beds) {
  const bed = openBed({ kind, file });
  const measured = await measure(bed.path);
  bed.close();
  report.beds.push({ name: bed.name, says: bed.says, rows: measured });
  console.log(`\n${bed.name}: ${bed.says}. Medians of ${rounds} rounds of ${ms} ms, (quartiles) of ratios:\n`);
  console.log(tableOf(measured));
}
report.seconds = Math.round((Date.now() - began) / 1000);
report.machine.loadAtEnd = machine().load;
const { cpu, kernel, node, load, loadAtEnd } = report.machine;
console.log(
  `\n${cpu}, Linux ${kernel}, Node ${node}; load ${load[0]} before, ${loadAtEnd[0]} after ${report.seconds} s`,
);
console.log(`System calls: ${howCounted}.`);
if (json !== undefined) writeFileSync(json, `${JSON.stringify(report, null, 2)}\n`);
process.exit(0);

/** All rows on one bed. */
async function measure(path) {
  const contenders = [];
  for (const row of rows) contenders.push(await openContender(row, path, folder));
  const running = rows.map((row, i) => ({ row, contender: contenders[i], rounds: [] }));
  const present = running.filter(({ contender }) => contender.missing === undefined);
  for (let round = 0; round < rounds; round++)
    for (const each of present) each.rounds.push(await each.contender.speed(ms));
  const ofC = ({ depth, block }) =>
    running.find(({ row }) => row.by === "c" && row.depth === depth && row.block === block).rounds;
  const measured = [];
  for (const { row, contender, rounds: ofRow } of running) {
    const { name, contender: of, depth, block } = row;
    const what = { name, contender: of, depth, block };
    if (contender.missing !== undefined) {
      measured.push({ ...what, missing: contender.missing });
      continue;
    }
    measured.push({
      ...what,
      ...figuresOf(ofRow, ofC(row)),
      ...(await contender.latency(ms)),
      ...(await contender.garbage(ms)),
      ...(await contender.systemCalls(ms)),
      ran: await contender.ran(),
      rounds: ofRow,
    });
  }
  for (const { contender } of present) contender.end();
  return measured;
}

/** The arguments, as they're meant; ends the process with 2 if they can't be. */
function taken() {
  try {
    const { values } = parseArgs({
      options: {
        bed: { type: "string" },
        file: { type: "string" },
        only: { type: "string" },
        rounds: { type: "string", default: "7" },
        ms: { type: "string", default: "150" },
        json: { type: "string" },
      },
    });
    const kinds = (values.bed ?? (values.file === undefined ? "zram,loop" : "file")).split(",");
    for (const kind of kinds)
      if (!["zram", "loop", "file"].includes(kind)) throw new Error(`--bed takes zram, loop and file, got ${kind}`);
    if (kinds.includes("file") && values.file === undefined) throw new Error("--bed file needs --file FILE");
    for (const option of ["rounds", "ms"])
      if (!/^[1-9]\d*$/.test(values[option]))
        throw new Error(`--${option} takes a number from 1 on, got ${values[option]}`);
    const chosen = rowsOf(values.only);
    if (chosen.length === 0) throw new Error(`no row has a name with one of these in it: ${values.only}`);
    return { ...values, beds: kinds, rows: chosen, rounds: Number(values.rounds), ms: Number(values.ms) };
  } catch (error) {
    console.error(`bench:engine: ${error.message}`);
    process.exit(2);
  }
}
