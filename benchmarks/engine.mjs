// The engine against the tightest loop of C: ratios of interleaved runs, and the figures that go with them.
//
//   npm run bench:engine -- [--file FILE] [--seconds 1] [--rounds 7] [--only PART-OF-A-NAME,…]
//
// As root it makes a zram disk with ext4 and removes it again: requests complete inline there, so that what's measured
// is the path and nothing else. Otherwise give it a file of at least 64 MiB on a filesystem with direct I/O. Needs cc
// and liburing (liburing-dev).

import { execFileSync, fork } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBed, scratchFolder, untilExit } from "./beds.mjs";

const { values } = parseArgs({
  options: {
    file: { type: "string" },
    seconds: { type: "string", default: "1" },
    rounds: { type: "string", default: "7" },
    only: { type: "string" },
  },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);

/** Each against C's loop with the same depth and block, registered for life. */
const ROWS = [
  { name: "callback 4 KiB", want: 0.95, load: "callback", depth: 32, block: 4096 },
  { name: "callback 128 KiB", want: 0.95, load: "callback", depth: 32, block: 131072 },
  { name: "callback 4 KiB, depth 8", want: 0.85, load: "callback", depth: 8, block: 4096 },
  { name: "promises 4 KiB", want: 0.65, load: "promise", depth: 32, block: 4096 },
  { name: "promises 128 KiB", want: 0.85, load: "promise", depth: 32, block: 131072 },
  { name: "per-io 4 KiB (baseline)", load: "callback", pin: "per-io", depth: 32, block: 4096 },
  { name: "per-io 128 KiB (baseline)", load: "callback", pin: "per-io", depth: 32, block: 131072 },
  { name: "residency capped at 100 ms", load: "callback", depth: 32, block: 4096, lease: { max: 100 } },
  { name: "residency capped, 128 KiB", load: "callback", depth: 32, block: 131072, lease: { max: 100 } },
  { name: "unfollowed 4 KiB", load: "callback", depth: 32, block: 4096, events: { userfaultfd: false } },
  { name: "unfollowed 128 KiB", load: "callback", depth: 32, block: 131072, events: { userfaultfd: false } },
  { name: "node:fs 4 KiB", load: "node", depth: 32, block: 4096 },
  { name: "node:fs O_DIRECT 4 KiB", load: "node", direct: true, depth: 32, block: 4096 },
  { name: "node:fs 4 KiB, 32 threads", load: "node", depth: 32, block: 4096, threads: 32 },
  { name: "node:fs O_DIRECT 4 KiB, 32 threads", load: "node", direct: true, depth: 32, block: 4096, threads: 32 },
  { name: "aio 4 KiB", load: "callback", scheme: "aio", depth: 32, block: 4096 },
  { name: "aio promises 4 KiB", load: "promise", scheme: "aio", depth: 32, block: 4096 },
  { name: "direct 4 KiB", load: "callback", scheme: "direct", depth: 32, block: 4096 },
  { name: "direct promises 4 KiB", load: "promise", scheme: "direct", depth: 32, block: 4096 },
  { name: "direct 4 KiB, 32 threads", load: "callback", scheme: "direct", depth: 32, block: 4096, threads: 32 },
  { name: "direct promises 4 KiB, 32 threads", load: "promise", scheme: "direct", depth: 32, block: 4096, threads: 32 },
].filter(({ name }) => values.only === undefined || values.only.split(",").some((part) => name.includes(part)));

const folder = scratchFolder();
const scratch = openBed({ file: values.file });
const children = [];
/** The bed goes after this: children hold its file open. */
untilExit(() => {
  for (const each of children) each.end();
  rmSync(folder, { recursive: true, force: true });
});

const yardstick = join(folder, "ring_loop");
execFileSync("cc", ["-O2", new URL("ring_loop.c", import.meta.url).pathname, "-o", yardstick, "-luring"]);

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const loopOfC = (row) => {
  const out = execFileSync(yardstick, [
    scratch.path,
    "lifetime",
    String(row.depth),
    String(row.block),
    String(seconds),
  ]);
  return JSON.parse(out.toString());
};

function child(row) {
  const process_ = fork(new URL("load.mjs", import.meta.url), [JSON.stringify({ ...row, file: scratch.path })], {
    execArgv: ["--expose-gc"],
    env: { ...process.env, UV_THREADPOOL_SIZE: row.threads === undefined ? undefined : String(row.threads) },
  });
  const answer = () =>
    new Promise((resolve, reject) => {
      process_.once("message", resolve);
      process_.once("exit", (code, signal) => reject(new Error(`${row.name}: ended with ${code ?? signal}`)));
    });
  process_.setMaxListeners(0);
  return {
    ready: answer(),
    end() {
      process_.kill("SIGKILL");
    },
    run(message) {
      const answered = answer();
      process_.send(message);
      return answered;
    },
  };
}

children.push(...ROWS.map(child));
for (const { ready, run } of children) {
  await ready;
  await run({ kind: "load", ms: 500 });
}
const found = ROWS.map(() => ({ ratios: [], cpuRatios: [], iops: [], cpu: [], garbage: [], ticks: [] }));
for (let round = 0; round < rounds; round++) {
  for (const [i, row] of ROWS.entries()) {
    const c = loopOfC(row);
    const ours = await children[i].run({ kind: "load", ms: seconds * 1000 });
    found[i].ratios.push(ours.iops / c.iops);
    found[i].cpuRatios.push(c.cpuUsPerIo / ours.cpuUsPerIo);
    found[i].iops.push(ours.iops);
    found[i].cpu.push(ours.cpuUsPerIo);
    found[i].garbage.push(ours.garbageBytesPerIo);
    found[i].ticks.push(ours.ticksKept);
  }
}
console.log(
  `${scratch.path}, ${rounds} rounds of ${seconds} s, medians; ratio: to C's loop (lifetime) in the same round`,
);
console.table(
  Object.fromEntries(
    ROWS.map((row, i) => [
      row.name,
      {
        iops: Math.round(median(found[i].iops)),
        ratio: Number(median(found[i].ratios).toFixed(3)),
        // CPU time is comparable on a busy machine too, and all there is: every request completes inline here.
        "ratio of CPU": Number(median(found[i].cpuRatios).toFixed(3)),
        wanted: row.want ?? "",
        "CPU µs/request": Number(median(found[i].cpu).toFixed(2)),
        "garbage B/request": Number(median(found[i].garbage).toFixed(1)),
        "1 ms ticks kept": `${(100 * median(found[i].ticks)).toFixed(0)} %`,
      },
    ]),
  ),
);

/** Our row against another, round by round: by requests a second, and by CPU time, for a machine with other work. */
const PAIRS = [
  // What the monitor costs while nothing happens to memory.
  ["callback 4 KiB", "unfollowed 4 KiB", 0.98],
  ["callback 128 KiB", "unfollowed 128 KiB", 0.98],
  ["aio 4 KiB", "node:fs 4 KiB", 2],
  ["aio 4 KiB", "node:fs O_DIRECT 4 KiB", 2],
  ["aio promises 4 KiB", "node:fs 4 KiB", 2],
  ["aio promises 4 KiB", "node:fs O_DIRECT 4 KiB", 2],
  ["direct 4 KiB", "node:fs 4 KiB", 1],
  ["direct 4 KiB", "node:fs O_DIRECT 4 KiB", 1],
  ["direct promises 4 KiB", "node:fs 4 KiB", 1],
  ["direct promises 4 KiB", "node:fs O_DIRECT 4 KiB", 1],
  ["direct 4 KiB, 32 threads", "node:fs 4 KiB, 32 threads", 1],
  ["direct 4 KiB, 32 threads", "node:fs O_DIRECT 4 KiB, 32 threads", 1],
  ["direct promises 4 KiB, 32 threads", "node:fs 4 KiB, 32 threads", 1],
  ["direct promises 4 KiB, 32 threads", "node:fs O_DIRECT 4 KiB, 32 threads", 1],
];
const spread = (list) =>
  `${median(list).toFixed(3)} (${Math.min(...list).toFixed(2)} to ${Math.max(...list).toFixed(2)})`;
const byName = (name) => found[ROWS.findIndex((row) => row.name === name)];
for (const [ours, theirs, wanted] of PAIRS) {
  const [a, b] = [byName(ours), byName(theirs)];
  if (a === undefined || b === undefined) continue;
  const iops = spread(a.iops.map((each, i) => each / b.iops[i]));
  const cpu = spread(a.cpu.map((each, i) => b.cpu[i] / each));
  console.log(`${ours} / ${theirs}: ${iops}, by CPU ${cpu} (wanted ${wanted})`);
}

if (values.only === undefined) {
  const of = (name) => found[ROWS.findIndex((row) => row.name === name)];
  const against = (a, b) => median(of(a).iops.map((iops, i) => iops / of(b).iops[i])).toFixed(3);
  console.log(`callback / node:fs at 4 KiB: ${against("callback 4 KiB", "node:fs 4 KiB")} (wanted 5)`);
  console.log(`capped / uncapped at 4 KiB: ${against("residency capped at 100 ms", "callback 4 KiB")} (wanted 0.97)`);
  console.log(
    `capped / uncapped at 128 KiB: ${against("residency capped, 128 KiB", "callback 128 KiB")} (wanted 0.97)`,
  );
  const lease = children[0];
  console.log("invalidations of 2 MiB under 32 requests:", await lease.run({ kind: "invalidate", times: 2000 }));
  console.log("pins at rest:", await lease.run({ kind: "rest", blockMs: 0 }));
  console.log("pins at rest, event loop blocked for 2 s:", await lease.run({ kind: "rest", blockMs: 2000 }));
  console.log("memory of a further engine with 128 in flight:", await lease.run({ kind: "memory" }));
  const imports = Array.from({ length: 5 }, () =>
    Number(
      execFileSync(process.execPath, [
        "--input-type=module",
        "-e",
        `const t = performance.now(); await import(${JSON.stringify(new URL("../packages/pinless/dist/index.js", import.meta.url).href)}); console.log(performance.now() - t);`,
      ]).toString(),
    ),
  );
  console.log(`import: ${median(imports).toFixed(1)} ms (wanted < 100)`);
}
process.exit(0);
