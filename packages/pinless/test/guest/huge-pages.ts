// Number of huge pages that a machine can still make while buffers lie scattered over its memory. Runs in a guest
// (test/hazards/huge-pages.test.ts), where no other process takes or frees any, or misses them.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { type EngineReads, LEASE_SMALL, LIFETIME_SMALL } from "../../../cli/dist/bench/configurations.js";
import { brokenBytes } from "../../../cli/dist/bench/harms/host-huge-pages.js";
import { scatter, unscatter } from "../../../cli/dist/bench/harms/scattered.js";
import { alignUp } from "../../dist/protocol/ranges/ranges.js";
import { numberedBlocks } from "../support/blocks.js";
import { figure, isColumn } from "../support/figure.js";

const MIB = 1 << 20;
const POOL = "/proc/sys/vm/nr_hugepages";
const FILE = "/tmp/file";
const BLOCKS = 256;
/** Size of the region in which buffers are laid out, a few pages in each 2 MiB. */
const REGION_BYTES = 256 * MIB;
const AREAS = REGION_BYTES / (2 * MIB);
/** Beyond the memory that is in small pieces already: what is freed meanwhile. */
const MORE_BYTES = 16 * MIB;

/**
 * Share of the huge pages in free memory that the kernel can make. The free memory differs by some pages
 * from one measurement to the next, since Node itself needs more or less of it.
 */
function obtainable(): number {
  const most = Math.floor(
    (Number(/^MemFree:\s*(\d+)/m.exec(readFileSync("/proc/meminfo", "utf8"))![1]) * 1024) / (2 * MIB),
  );
  writeFileSync("/proc/sys/vm/compact_memory", "1");
  for (let tries = 0; tries < 2; tries++) writeFileSync(POOL, String(most));
  const got = Number(readFileSync(POOL, "utf8"));
  writeFileSync(POOL, "0");
  return got / most;
}

test("Huge pages that can be allocated while buffers lie scattered over memory", async (t) => {
  writeFileSync(FILE, numberedBlocks(BLOCKS));
  const target = { path: FILE, bytes: BLOCKS * 4096, filesystem: "ext4", numbered: false };
  const ways: Record<string, EngineReads | null> = {
    "no engine": null,
    lease: LEASE_SMALL.reads as EngineReads,
    lifetime: LIFETIME_SMALL.reads as EngineReads,
  };
  const had: Record<string, number> = {};
  const ballastBytes = alignUp(brokenBytes(), 2 * MIB) + MORE_BYTES;
  for (const [name, reads] of Object.entries(ways)) {
    const { blocks } = await scatter(target, { kind: "scatter", ballastBytes, regionBytes: REGION_BYTES, reads });
    had[name] = obtainable();
    const after = await unscatter();
    if (reads === null) t.diagnostic(`${ballastBytes / MIB} MiB are in small pieces`);
    t.diagnostic(`${name}: ${had[name]!.toFixed(3)}, buffers in ${blocks} areas before and ${after.blocks} after`);
    assert.ok(reads === null || blocks > AREAS / 2, `buffers that lie in ${blocks} areas of ${AREAS} aren't scattered`);
  }
  const share = (name: string): number => had[name]! / had["no engine"]!;
  for (const name of Object.keys(ways)) {
    const harm = "huge pages that could be had with buffers scattered over memory, of those without";
    if (isColumn(name)) figure(t, harm, name, share(name).toFixed(2));
  }
  assert.ok(share("lease") >= 0.98, `${share("lease")}`);
  assert.ok(had["no engine"]! >= 0.95, `${had["no engine"]}: without buffers nothing is in the way`);
  assert.ok(share("lifetime") < 0.8, `${share("lifetime")}: buffers that are registered for life weren't in the way`);
});
