// Two NUMA nodes, and a movable zone on each: an arena's memory moves to and fro under I/O. Runs in a guest
// (test/hazards/numa.test.ts).
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { type Arena, Engine, type File } from "../../dist/index.js";
import { movePages } from "../../dist/linux/libc.js";
import { kernelGround } from "../conformance/kernel.js";
import { otherNodes } from "../conformance/memory-management.js";
import { Readers } from "../hazards/readers.js";
import { WAYS, type Way } from "../hazards/ways.js";
import { numberedBlocks } from "../support/blocks.js";
import { figure, isColumn } from "../support/figure.js";
import { framesOf } from "../support/pagemap.js";
import { addressOf } from "../support/proc.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const BYTES = 4 * MIB;
const PAGES = BYTES / 4096;
const BLOCKS = 64;

interface Bed {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly memory: Uint8Array;
  readonly file: File;
}

async function withBed(
  t: TestContext,
  { options }: Way,
  hugePages: boolean,
  body: (bed: Bed) => Promise<void>,
): Promise<void> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  const engine = await Engine.open({ ...options, depth: 32 });
  try {
    const arena = await engine.arena({ bytes: BYTES, hugePages });
    await body({ engine, arena, memory: arena.alloc(BYTES), file: await engine.openFile(name) });
    assert.equal(engine.stats().failed, 0);
  } finally {
    await engine.close();
  }
}

/** Number of a view's pages on a node, according to the kernel. */
function pagesOn(node: number, memory: Uint8Array): number {
  const start = addressOf(memory);
  const status = new Int32Array(PAGES);
  const pages = Array.from(status, (_, i) => start + i * 4096);
  assert.equal(movePages(pages, null, status), 0);
  return status.filter((each) => each === node).length;
}

test("the machine has two nodes, with NUMA balancing on", () => {
  assert.equal(readFileSync("/sys/devices/system/node/online", "utf8").trim(), "0-1");
  writeFileSync("/proc/sys/kernel/numa_balancing", "1");
});

for (const way of WAYS) {
  for (const hugePages of [true, false]) {
    const { name, control } = way;
    const what = `${name}, ${hugePages ? "huge" : "small"} pages`;
    test(`Arena.migrate to and fro, ${what}: ${control ? "nothing moves (control)" : "every page moves"}`, (t) =>
      withBed(t, way, hugePages, async ({ engine, arena, memory, file }) => {
        // Kernels before 6.13 don't give registrations back at once: there it goes without.
        if (name === "lease" && engine.pin !== "lease") assert.match(engine.stats().degraded.join(), /6\.13.*per-io/);
        const [from = 0] = [0, 1].filter((node) => pagesOn(node, memory) > PAGES / 2);
        const readers = new Readers(file, memory, BLOCKS);
        await until("reads", () => readers.reads > 100);
        const before = framesOf(memory);
        const moved = new Set<number>();
        for (const node of control ? [1 - from] : [1 - from, from, 1 - from]) {
          const { pages } = await arena.migrate({ node });
          assert.equal(pages, PAGES);
          // The kernel may hold the pages of a request that wasn't registered for some time after it has ended.
          if (!control) await until("pages on the other node", async () => (await arena.migrate({ node })).busy === 0);
          // After each call, since NUMA balancing may move some of them back, even into the same frames.
          for (const [i, frame] of framesOf(memory).entries()) if (frame !== before[i]) moved.add(i);
        }
        if (control) assert.equal(moved.size, 0);
        else assert.ok(moved.size > 0);
        await readers.stop();
        const size = hugePages ? "huge" : "small";
        const harm = `pages moved to another NUMA node, under reads (of ${PAGES}, ${size} pages)`;
        if (isColumn(name)) figure(t, harm, name, String(moved.size));
        t.diagnostic(`${what}, pin ${engine.pin}: ${moved.size} pages, after ${readers.reads} reads`);
      }));
  }
}

// What the model's two nodes show as well.
for (const pin of ["lease", "lifetime"] as const) otherNodes(kernelGround("io_uring", pin));

/** The frames of the movable zones. */
function isMovable(frame: number): boolean {
  const zones = readFileSync("/proc/zoneinfo", "utf8").split(/^Node /m);
  return zones.some((zone) => {
    if (!/^\d+, zone\s+Movable/.test(zone)) return false;
    const [first, spanned] = [/start_pfn:\s+(\d+)/, /spanned\s+(\d+)/].map((field) => Number(field.exec(zone)?.[1]));
    return frame >= first! && frame < first! + spanned!;
  });
}

test("A lease on memory of the movable zone: the kernel moves it out first, and reads arrive", (t) =>
  withBed(t, WAYS.find(({ name }) => name === "lease")!, false, async ({ engine, memory, file }) => {
    const movable = (): number => framesOf(memory).filter((frame) => frame !== 0 && isMovable(frame)).length;
    const before = movable();
    assert.ok(before > 0, "none of its pages are in a movable zone");
    const readers = new Readers(file, memory, BLOCKS);
    await until("leases", () => engine.pin !== "lease" || engine.stats().leases.taken >= 2);
    await until("reads", () => readers.reads > 200);
    await readers.stop();
    t.diagnostic(`pin ${engine.pin}: ${before} of ${PAGES} pages were movable, ${movable()} are now`);
    if (engine.pin === "lease") assert.ok(movable() < before);
  }));
