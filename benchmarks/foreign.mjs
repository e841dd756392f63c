// npm run bench:foreign [-- --calls 10000 --depth 32 --directory DIRECTORY] Other code of the process discards memory
// that reads are under way into: how long is it kept in its madvise(), against the slowest of the reads that were in
// flight when it began? And does every read that begins after it arrive?

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import koffi from "koffi";
import { Engine } from "../packages/pinless/dist/index.js";

const BLOCK = 4096;
const BLOCKS = 16384;
const ALLOWED_OVER_MS = 10;
const { values } = parseArgs({
  options: {
    calls: { type: "string", default: "10000" },
    depth: { type: "string", default: "32" },
    directory: { type: "string", default: tmpdir() },
    monitor: { type: "string", default: "on" },
  },
});
const calls = Number(values.calls);
const depth = Number(values.depth);

const CALLER = `
  const koffi = require("koffi");
  const { workerData: { at, bytes, calls, times, words } } = require("node:worker_threads");
  const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");
  const MADV_DONTNEED = 4;
  for (let i = 0; i < calls; i++) {
    Atomics.add(words, 0, 1);
    times[2 * i] = Number(process.hrtime.bigint()) / 1e6;
    if (madvise(at, bytes, MADV_DONTNEED) !== 0) throw new Error("madvise");
    times[2 * i + 1] = Number(process.hrtime.bigint()) / 1e6;
    Atomics.add(words, 1, 1);
  }
`;

const scratch = mkdtempSync(join(values.directory, "pinless-foreign-"));
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
try {
  const path = join(scratch, "numbered");
  const blocks = new Uint32Array((BLOCKS * BLOCK) / 4);
  for (let block = 0; block < BLOCKS; block++) blocks.fill(block + 1, (block * BLOCK) / 4, ((block + 1) * BLOCK) / 4);
  writeFileSync(path, new Uint8Array(blocks.buffer), { flush: true });

  const hour = 3_600_000;
  const engine = await Engine.open({
    scheme: "io_uring",
    depth,
    lease: { idle: hour },
    events: { userfaultfd: values.monitor === "on" },
  });
  const arena = await engine.arena({ bytes: depth * BLOCK });
  const memory = arena.alloc(depth * BLOCK);
  const file = await engine.openFile(path);
  const times = new Float64Array(new SharedArrayBuffer(16 * calls));
  const words = new Int32Array(new SharedArrayBuffer(8));

  const reads = { began: [], ended: [] };
  let running = true;
  let quiet = 0;
  let stale = 0;
  let random = 12345;
  let all;
  const stopped = new Promise((resolve) => {
    all = resolve;
  });
  let flying = 0;
  const read = (place) => {
    random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
    const block = random % BLOCKS;
    const buffer = memory.subarray(place * BLOCK, (place + 1) * BLOCK);
    buffer.fill(0xee);
    const endedBefore = Atomics.load(words, 1);
    const begunBefore = Atomics.load(words, 0);
    const began = nowMs();
    flying++;
    const answer = file.submit("read", buffer, block * BLOCK, (errno, bytes) => {
      if (errno !== 0 || bytes !== BLOCK) throw new Error(`errno ${errno}, ${bytes} bytes`);
      reads.began.push(began);
      reads.ended.push(nowMs());
      const seen = new Uint32Array(buffer.buffer, buffer.byteOffset, BLOCK / 4);
      const overlapped = begunBefore !== endedBefore || Atomics.load(words, 0) !== begunBefore;
      const arrived = seen[0] === block + 1 && seen[BLOCK / 4 - 1] === block + 1;
      if (!overlapped) quiet++;
      if (!arrived && !(overlapped && seen[0] === 0)) stale++;
      flying--;
      if (running) read(place);
      else if (flying === 0) all();
    });
    if (answer === "busy") throw new Error("no room for the engine's own depth");
  };
  for (let place = 0; place < depth; place++) read(place);
  const at = Number(koffi.address(new Uint8Array(memory.buffer, memory.byteOffset)));
  const caller = new Worker(CALLER, { eval: true, workerData: { at, bytes: memory.byteLength, calls, times, words } });
  await new Promise((resolve, reject) => caller.once("exit", resolve).once("error", reject));
  running = false;
  await stopped;
  const { invalidations, reissued, leases, degraded } = engine.stats();
  await engine.close();

  const took = [];
  const over = [];
  // Reads in the order of their beginnings; those in flight when a call begins are among the few that began before it.
  const order = reads.began.map((_, i) => i).sort((a, b) => reads.began[a] - reads.began[b]);
  let open = [];
  let next = 0;
  for (let i = 0; i < calls; i++) {
    const [begin, end] = [times[2 * i], times[2 * i + 1]];
    while (next < order.length && reads.began[order[next]] < begin) open.push(order[next++]);
    open = open.filter((read) => reads.ended[read] > begin);
    const slowest = open.reduce((most, read) => Math.max(most, reads.ended[read] - reads.began[read]), 0);
    took.push(end - begin);
    over.push(end - begin - slowest);
  }
  const part = (list, share) =>
    list
      .slice()
      .sort((a, b) => a - b)
      [Math.min(calls - 1, Math.floor(share * calls))].toFixed(2);
  const line = (what, list) =>
    console.log(what.padEnd(34), ...[0.5, 0.99, 0.999, 1].map((share) => part(list, share).padStart(9)));
  console.log("ms".padEnd(34), ...["p50", "p99", "p99.9", "most"].map((text) => text.padStart(9)));
  line("in madvise(MADV_DONTNEED)", took);
  line("more than the slowest in flight", over);
  const late = over.filter((ms) => ms > ALLOWED_OVER_MS).length;
  console.log(`${late} of ${calls} calls took over ${ALLOWED_OVER_MS} ms more than the slowest read in flight`);
  console.log(`${reads.began.length} reads, ${quiet} of them beside no discard; ${stale} didn't arrive`);
  console.log(JSON.stringify({ drained: invalidations.CLEAR, reissued, taken: leases.taken, degraded }));
  process.exitCode = late === 0 && stale === 0 ? 0 : 1;
} finally {
  rmSync(scratch, { recursive: true });
}
