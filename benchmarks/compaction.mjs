// Share of buffers under constant reads that the kernel's compaction can move: with leases, with requests without
// registrations, with lifetime registrations, and of memory without I/O. Needs root: it compacts all of the machine's
// memory.
//
//   npm run build && node benchmarks/compaction.mjs [--rounds 10] [--file FILE]

import { openSync, readSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import koffi from "koffi";
import { Engine } from "../packages/pinless/dist/index.js";
import { openBed } from "./beds.mjs";

const AREA_BYTES = 2 << 20;
const PAGES = AREA_BYTES / 4096;
const AREAS = 8;
const IN_FLIGHT = 8;
const PASSES = 4;
const PASS_MS = 250;
const WAYS = [
  { name: "no I/O", pin: "per-io", reads: false },
  { name: "per-io", pin: "per-io", reads: true },
  { name: "leases", pin: "lease", reads: true },
  { name: "leases that don't make way", pin: "lease", reads: true, events: { pressure: false } },
  { name: "registered for life", pin: "lifetime", reads: true },
];

const { values } = parseArgs({ options: { rounds: { type: "string", default: "10" }, file: { type: "string" } } });
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const bed = openBed({ file: values.file });
const pagemap = openSync("/proc/self/pagemap", "r");
const total = WAYS.map(() => ({ moved: 0, reads: 0, ms: 0 }));
for (let round = 0; round < Number(values.rounds); round++) await compactUnderReads();
bed.close();
console.table(
  Object.fromEntries(
    WAYS.map(({ name }, i) => [
      name,
      {
        [`pages moved of ${Number(values.rounds) * AREAS * PAGES}`]: total[i].moved,
        "of per-io": (total[i].moved / total[1].moved).toFixed(2),
        "reads/s": Math.round((total[i].reads / total[i].ms) * 1000),
      },
    ]),
  ),
);

/** All of them side by side, in new memory. */
async function compactUnderReads() {
  const subjects = [];
  for (const { pin, events = {} } of WAYS) {
    const engine = await Engine.open({ scheme: "io_uring", pin, events, depth: 32 });
    subjects.push({ engine, file: await engine.openFile(bed.path), areas: [], reads: 0, flying: 0, running: true });
  }
  for (let i = 0; i < AREAS; i++)
    for (const subject of subjects) {
      const arena = await subject.engine.arena({ bytes: AREA_BYTES, hugePages: false });
      subject.areas.push(arena.alloc(AREA_BYTES));
    }
  for (const [i, subject] of subjects.entries()) if (WAYS[i].reads) read(subject);
  await sleep(500);
  for (const subject of subjects) subject.reads = 0;
  const began = performance.now();
  const first = subjects.map(({ areas }) => areas.map(framesOf));
  for (let pass = 0; pass < PASSES; pass++) {
    // On a thread of libuv's pool, so that reads go on meanwhile.
    await writeFile("/proc/sys/vm/compact_memory", "1");
    await sleep(PASS_MS);
  }
  for (const [i, { areas, reads }] of subjects.entries()) {
    total[i].ms += performance.now() - began;
    total[i].reads += reads;
    for (const [k, area] of areas.entries())
      total[i].moved += framesOf(area).filter((frame, page) => frame !== first[i][k][page]).length;
  }
  for (const subject of subjects) subject.running = false;
  while (subjects.some(({ flying }) => flying > 0)) await sleep(1);
  for (const { engine } of subjects) await engine.close();
}

function read(subject) {
  const { file, areas } = subject;
  const below = (n) => Math.floor(Math.random() * n);
  const submit = () => {
    subject.flying++;
    const at = below(PAGES) * 4096;
    file.submit("read", areas[below(AREAS)].subarray(at, at + 4096), below(1000) * 4096, ended);
  };
  const ended = (errno) => {
    if (errno !== 0) throw new Error(`errno ${errno}`);
    subject.reads++;
    subject.flying--;
    if (subject.running) submit();
  };
  for (let i = 0; i < IN_FLIGHT; i++) submit();
}

/** The frames that its pages are in. */
function framesOf(area) {
  const entries = new BigUint64Array(PAGES);
  readSync(pagemap, entries, 0, entries.byteLength, Number(koffi.address(area)) / 512);
  return Array.from(entries, (entry) => Number(entry & ((1n << 55n) - 1n)));
}
