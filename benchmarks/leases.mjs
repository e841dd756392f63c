// Leases beside registrations for life and requests that pin for themselves, with all of an arena in use: random reads
// into random buffers.
//
//   npm run bench:leases -- [--gib 0.25,2,8] [--pages huge|small] [--block 4096] [--depth 64] [--seconds 3]
//                           [--rounds 5] [--file FILE]
//
// A process a run, one after the other, in turns: medians, and the ratios of each round. All leases go once before the
// measurement begins, so that V8 has compiled what that takes, and it lasts for whole lives of them (--seconds at
// least), so that rests have their share. As root on a zram disk with ext4, as bench:engine; otherwise give it a file.
// --lease JSON has options of the leases.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openBed } from "./beds.mjs";
import { median } from "./statistics.mjs";

const PINS = ["lease", "lifetime", "per-io"];
const RANDOM_READS = fileURLToPath(new URL("random-reads.mjs", import.meta.url));
const WARM_UP_MS = 2000;
/** Seconds in the life of a lease by default: `lease.max` (1 s, or 1 s for each GiB), and the rest of a sixteenth. */
const cycleOf = (gib) => Math.max(1, gib) * (1 + 1 / 16);

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "0.25,2,8" },
    pages: { type: "string", default: "huge" },
    block: { type: "string", default: "4096" },
    depth: { type: "string", default: "64" },
    seconds: { type: "string", default: "3" },
    rounds: { type: "string", default: "5" },
    file: { type: "string" },
    lease: { type: "string", default: "{}" },
    uid: { type: "string" },
  },
});

const bed = openBed({ file: values.file });
for (const gib of values.gib.split(",").map(Number)) console.table(rowsOf(gib, bed.path));
bed.close();

function rowsOf(gib, path) {
  const found = Object.fromEntries(PINS.map((pin) => [pin, []]));
  const cycleMs = cycleOf(gib) * 1000;
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const pin of PINS) {
      const load = {
        path,
        pin,
        bytes: gib * 2 ** 30,
        pages: values.pages,
        block: Number(values.block),
        depth: Number(values.depth),
        warmUpMs: WARM_UP_MS + cycleMs,
        ms: Math.ceil((Number(values.seconds) * 1000) / cycleMs) * cycleMs,
        lease: pin === "lease" ? JSON.parse(values.lease) : {},
      };
      const as = values.uid === undefined ? {} : { uid: Number(values.uid) };
      const args = [RANDOM_READS, JSON.stringify(load)];
      found[pin].push(JSON.parse(execFileSync(process.execPath, args, { encoding: "utf8", ...as })));
    }
  }
  const of = (pin, field) => found[pin].map((each) => each[field]);
  const ratio = (pin, other, field) => median(of(pin, field).map((value, i) => value / of(other, field)[i])).toFixed(3);
  return Object.fromEntries(
    PINS.map((pin) => [
      `${gib} GiB, ${values.pages} pages, ${pin}`,
      {
        "reads/s": Math.round(median(of(pin, "reads"))),
        "of lifetime": ratio(pin, "lifetime", "reads"),
        "of per-io": ratio(pin, "per-io", "reads"),
        "CPU of lifetime": ratio(pin, "lifetime", "cpuUs"),
        "CPU of per-io": ratio(pin, "per-io", "cpuUs"),
        "by a lease": median(of(pin, "leased")).toFixed(2),
        "taken/s": Math.round(median(of(pin, "taken"))),
        "GiB leased": median(of(pin, "gib")).toFixed(2),
      },
    ]),
  );
}
