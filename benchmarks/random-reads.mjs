// Random reads into random buffers, all over the memory of an arena, measured in this process. bench:leases and
// bench:growth start it for each run: its load as JSON is the argument, and its figures go to standard output.

import { statSync } from "node:fs";
import { Engine } from "../packages/pinless/dist/index.js";

const SLAB_BYTES = 2 << 20;
const load = JSON.parse(process.argv[2]);
const { path, depth, block, warmUpMs, ms, files = 1, engines = 1, discards = 0, burst } = load;
const blocks = Math.floor(statSync(path).size / block);

let random = 12345;
function below(n) {
  random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
  return Math.floor((random / 2 ** 32) * n);
}

const sleep = (time) => new Promise((resolve) => setTimeout(resolve, time));

let running = true;
let done = 0;
let flying = 0;

/** Opens an engine, with its share of the load's arena, files and depth. */
async function contender() {
  const engine = await Engine.open({ scheme: "io_uring", pin: load.pin, depth: depth / engines, lease: load.lease });
  const bytes = load.bytes / engines;
  const arena = await engine.arena({ bytes, hugePages: load.pages !== "small" });
  const opened = await Promise.all(Array.from({ length: files / engines }, () => engine.openFile(path, "r")));
  const slabs = Array.from({ length: Math.floor(bytes / SLAB_BYTES) }, () => arena.alloc(SLAB_BYTES));
  // As many buffers as there are requests would be a few chunks only: these are all over the arena.
  const perSlab = Math.min(16, SLAB_BYTES / block);
  const buffers = slabs.flatMap((slab) =>
    Array.from({ length: perSlab }, (_, i) => slab.subarray((i * slab.length) / perSlab).subarray(0, block)),
  );
  const ended = (errno, got) => {
    if (errno !== 0 || got !== block) throw new Error(`errno ${errno}, ${got} bytes`);
    done++;
    flying--;
    if (running) submit();
  };
  const submit = () => {
    flying++;
    const file = opened[opened.length === 1 ? 0 : below(opened.length)];
    if (file.submit("read", buffers[below(buffers.length)], below(blocks) * block, ended) !== "queued")
      throw new Error("the engine has no room for its own depth");
  };
  const begin = () => {
    for (let i = 0; i < depth / engines; i++) submit();
  };
  return { engine, begin, discard: () => arena.discard(slabs[below(slabs.length)]) };
}

/** Discards a slab so many times a second, one after the other: fewer if the machine doesn't do as many. */
async function discarding(all) {
  const began = performance.now();
  for (let sent = 0; running; sent++) {
    while (running && sent > ((performance.now() - began) * discards) / 1000) await sleep(1);
    await all[sent % all.length].discard();
  }
}

/** Reads until `untilMs`. In bursts, it reads for `burst.busyMs` and then rests for `burst.restMs`, again and again. */
async function readUntil(untilMs, all) {
  if (burst === undefined) return await sleep(untilMs - performance.now());
  while (performance.now() < untilMs) {
    await sleep(burst.busyMs);
    running = false;
    while (flying > 0) await sleep(0);
    await sleep(burst.restMs);
    running = true;
    for (const { begin } of all) begin();
  }
}

/** Sums of what the engines have counted. */
function counted(all) {
  const sums = { taken: 0, bytes: 0, perIo: 0, discards: 0, degraded: new Set() };
  for (const { engine } of all) {
    const { leases, perIo, degraded, invalidations } = engine.stats();
    sums.discards += invalidations.CLEAR;
    sums.taken += leases.taken;
    sums.bytes += leases.bytes;
    sums.perIo += perIo;
    for (const text of degraded) sums.degraded.add(text);
  }
  return sums;
}

const all = await Promise.all(Array.from({ length: engines }, contender));
for (const { begin } of all) begin();
const discarded = discards === 0 ? null : discarding(all);
await readUntil(performance.now() + warmUpMs, all);
const before = counted(all);
done = 0;
const cpu = process.cpuUsage();
const began = performance.now();
await readUntil(began + ms, all);
const wall = performance.now() - began;
const reads = done;
const used = process.cpuUsage(cpu);
const after = counted(all);
running = false;
while (flying > 0) await sleep(1);
await discarded;
await Promise.all(all.map(({ engine }) => engine.close()));
const figures = {
  reads: reads / (wall / 1000),
  cpuUs: (used.user + used.system) / reads,
  leased: 1 - (after.perIo - before.perIo) / reads,
  taken: (after.taken - before.taken) / (wall / 1000),
  gib: after.bytes / 2 ** 30,
  discards: (after.discards - before.discards) / (wall / 1000),
  degraded: [...after.degraded],
};
process.stdout.write(JSON.stringify(figures));
