/**
 * Requests as many huge pages as the kernel can still give, and gives them back. It's a process in a process group of
 * its own, so that the host gets them back even if the bench is killed: its IPC channel closes then, which is the order
 * to leave. It's also a machine-wide lock, because two benches that take the host's free memory would measure each
 * other.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { HUGE_PAGE_BYTES, meminfoBytes } from "pinless/internal";
import type { HugePagesOrder, HugePagesReply, RaisedHugePages } from "./harms/host-huge-pages.js";
import { vmstat, went } from "./vmstat.js";

/** Name of an abstract socket, which the kernel removes with its owner, however that ends. */
const LOCK = "\0pinless-bench-huge-pages";
const POOL = "hugepages/hugepages-2048kB/nr_hugepages";
const ALL = `/sys/kernel/mm/${POOL}`;
const NODES = "/sys/devices/system/node";
/**
 * Failures in a row after which no more are expected: after a failed compaction the kernel skips up to 64 attempts
 * (mm/compaction.c).
 */
const MISSES = 100;
const COMPACT = "/proc/sys/vm/compact_memory";

let leaving = false;
let raising: Promise<unknown> = Promise.resolve();

function pool(): number {
  return Number(readFileSync(ALL, "utf8"));
}

/** Pool size of each node, because a total wouldn't restore them. */
function pools(): ReadonlyMap<string, string> {
  const nodes = readdirSync(NODES).filter((name) => /^node\d+$/.test(name));
  return new Map(nodes.map((node) => [`${NODES}/${node}/${POOL}`, readFileSync(`${NODES}/${node}/${POOL}`, "utf8")]));
}

async function raise({ leaveBytes, mostPages, stepPages, limitMs }: HugePagesOrder): Promise<RaisedHugePages> {
  // Compaction first, so that every measurement begins with the same: all pages that can move easily have moved.
  writeFileSync(COMPACT, "1");
  const before = pools();
  const had = pool();
  const room = Math.max(0, Math.floor((meminfoBytes("MemFree") - leaveBytes) / HUGE_PAGE_BYTES));
  const asked = Math.min(room, mostPages);
  const stepsMs: number[] = [];
  const counters = vmstat();
  const began = performance.now();
  let got = 0;
  let misses = 0;
  try {
    while (got < asked && misses < MISSES && !leaving && performance.now() - began < limitMs) {
      const want = Math.min(asked, got + stepPages);
      const step = performance.now();
      writeFileSync(ALL, String(had + want));
      stepsMs.push(performance.now() - step);
      got = pool() - had;
      if (got < want) misses++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const after = vmstat();
    const elapsedMs = performance.now() - began;
    return {
      asked,
      got,
      elapsedMs,
      stepsMs,
      compactStalls: went("compact_stall", counters, after),
      compactFails: went("compact_fail", counters, after),
      migrated: went("pgmigrate_success", counters, after),
    };
  } finally {
    for (const [path, value] of before) writeFileSync(path, value);
  }
}

function reply(message: HugePagesReply): void {
  if (process.connected) process.send?.(message, () => {});
}

async function leave(): Promise<void> {
  leaving = true;
  await raising.catch(() => {});
  process.exit();
}

process.on("disconnect", () => void leave());
process.on("SIGINT", () => void leave());
process.on("SIGTERM", () => void leave());
process.on("message", (order: HugePagesOrder) => {
  const raised = raise(order);
  raising = raised;
  raised.then(
    (answer) => reply({ raised: answer }),
    (error: Error) => reply({ unavailable: error.message }),
  );
});

const lock = createServer();
lock.on("error", (error: NodeJS.ErrnoException) =>
  reply({
    unavailable:
      error.code === "EADDRINUSE" ? "another bench is taking the host's free memory right now" : error.message,
  }),
);
lock.listen(LOCK, () => reply({ ready: true }));
// The bench may have ended while this module was loading.
if (!process.connected) void leave();
