// Random reads by leases as an arena, its chunks, files, engines and invalidations become more; and what the defaults
// of leases rest on: idle time, residency, and the reads for which a lease pays.
//
//   npm run bench:growth -- [--rounds 5] [--only arena,chunk,…] [--block 4096] [--depth 64] [--bed zram|loop]
//                           [--file FILE] [--svg FILE] [--json FILE]
//
// A process a run. In every round each value of a series runs once, and the series' first value is what the others are
// compared with: ratios are within a round, tables have medians and quartiles. --svg draws them. As root on a bed as
// bench:engine makes it; otherwise give it a file of 512 MiB or more.

import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openBed } from "./beds.mjs";
import { plotsOf } from "./plots.mjs";
import { machine } from "./report.mjs";
import { median, quantile } from "./statistics.mjs";

const RANDOM_READS = fileURLToPath(new URL("random-reads.mjs", import.meta.url));
const MIB = 2 ** 20;
const GIB = 2 ** 30;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    block: { type: "string", default: "4096" },
    depth: { type: "string", default: "64" },
    bed: { type: "string" },
    file: { type: "string" },
    svg: { type: "string" },
    json: { type: "string" },
  },
});

/** A load of a quarter of a gigabyte by the engine's defaults, for a second after a life of all its leases. */
const USUAL = { pin: "lease", bytes: GIB / 4, lease: {}, warmUpMs: 1300, ms: 1100 };
const BURST = { busyMs: 10, restMs: 100 };

/** Loads that differ in one value, which is their name. */
const each = (values, load) => values.map((value) => [String(value), load(value)]);

/** A series: what it asks, and its loads with their names. The first is what the others are compared with. */
const SERIES = {
  arena: {
    asks: "bytes of an arena",
    loads: [
      ["64 MiB", { bytes: 64 * MIB }],
      ["256 MiB", {}],
      ["1 GiB", { bytes: GIB }],
      ["4 GiB", { bytes: 4 * GIB, warmUpMs: 5000, ms: 4300 }],
    ],
  },
  chunk: {
    asks: "KiB of a chunk",
    loads: each([2048, 512, 128, 64], (kib) => ({ lease: { chunk: kib * 1024 }, bytes: 32 * MIB })),
  },
  files: { asks: "open files", loads: each([1, 16, 256, 1024], (files) => ({ files })) },
  engines: {
    asks: "engines that share the depth",
    loads: each([1, 2, 4, 8], (engines) => ({ engines, files: engines })),
  },
  invalidations: {
    asks: "discards of 2 MiB a second",
    loads: each([0, 10, 100, 1000, 5000], (discards) => ({ discards })),
  },
  max: {
    asks: "lease.max in ms",
    loads: each([1000, 10_000, 100, 30, 10, 3], (max) => ({ lease: { max } })),
  },
  idle: {
    asks: "lease.idle in ms, by bursts of 10 ms",
    loads: each([50, 200, 20, 5], (idle) => ({ lease: { idle }, burst: BURST })),
  },
  pays: {
    asks: "how 4 GiB are pinned, all in use",
    loads: each(["lease", "lifetime", "per-io"], (pin) => ({
      ...{ pin, bytes: 4 * GIB, pages: "small" },
      ...(pin === "lease" ? { warmUpMs: 5000, ms: 4300 } : {}),
    })),
  },
};

const FIELDS = ["reads", "cpuUs"];

/** Runs of each load of a series, a round after the other. */
function runsOf({ loads }, path) {
  const found = loads.map(([name]) => ({ name, rounds: [] }));
  for (let round = 0; round < Number(values.rounds); round++)
    for (const [i, [, load]] of loads.entries()) {
      const all = { ...USUAL, ...load, path, block: Number(values.block), depth: Number(values.depth) };
      found[i].rounds.push(JSON.parse(execFileSync(process.execPath, [RANDOM_READS, JSON.stringify(all)]).toString()));
    }
  return found;
}

/** Figures of each of a series' values: medians, and ratios to the first value in the same round. */
function figuresOf(found) {
  const first = found[0].rounds;
  return found.map(({ name, rounds }) => {
    const ratio = (field) => {
      const ratios = rounds.map((round, i) => round[field] / first[i][field]);
      return { median: median(ratios), from: quantile(ratios, 0.25), to: quantile(ratios, 0.75) };
    };
    const middle = (field) => median(rounds.map((round) => round[field]));
    const [reads, cpuUs, leased, taken, discards] = ["reads", "cpuUs", "leased", "taken", "discards"].map(middle);
    const degraded = [...new Set(rounds.flatMap((round) => round.degraded))];
    const to = Object.fromEntries(FIELDS.map((field) => [field, ratio(field)]));
    return { name, reads, cpuUs, leased, taken, discards, degraded, to };
  });
}

const spread = ({ median: middle, from, to }) => `${middle.toFixed(2)} (${from.toFixed(2)}–${to.toFixed(2)})`;

function tableOf(asks, rows) {
  const lines = rows.map(({ name, reads, cpuUs, leased, taken, discards, to }) => [
    name,
    Math.round(reads).toLocaleString("en"),
    spread(to.reads),
    cpuUs.toFixed(2),
    spread(to.cpuUs),
    `${(100 * leased).toFixed(1)} %`,
    taken.toFixed(0),
    discards.toFixed(0),
  ]);
  const titles = [
    asks,
    "reads/s",
    "of the first's",
    "CPU µs",
    "times the first's",
    "by a lease",
    "leases a second",
    "discards a second",
  ];
  const said = rows.flatMap(({ name, degraded }) => degraded.map((text) => `- ${name}: ${text}`));
  return [titles, titles.map(() => "---"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .concat(said)
    .join("\n");
}

const wanted = values.only?.split(",") ?? Object.keys(SERIES);
const unknown = wanted.find((name) => SERIES[name] === undefined);
if (unknown !== undefined) throw new Error(`no series is called ${unknown}: ${Object.keys(SERIES).join(", ")}`);
const bed = openBed({ kind: values.bed, file: values.file });
console.log(`${JSON.stringify(machine())}\n${bed.says}; reads of ${values.block} bytes × ${values.depth}\n`);
const report = [];
for (const name of wanted) {
  const { asks } = SERIES[name];
  const rows = figuresOf(runsOf(SERIES[name], bed.path));
  console.log(`### ${name}\n\n${tableOf(asks, rows)}\n`);
  report.push({ name, asks, rows });
}
bed.close();
if (values.svg !== undefined) writeFileSync(values.svg, plotsOf(report));
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ machine: machine(), report }, null, 2));
