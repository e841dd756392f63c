// arena.migrate and arena.collapse on this machine's memory, and what they say where a machine can't.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MMAN, numaSyscalls } from "../../dist/abi/numbers.js";
import { Engine, probe } from "../../dist/index.js";
import { EINVAL, ENOSYS, EPERM } from "../../dist/protocol/errno.js";
import { runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { addressOf, smapsBytes } from "../support/proc.js";
import { type Refusal, refusing } from "../support/seccomp.js";

const MIB = 1 << 20;
const { hugePages } = await probe();
const needsHugePages = hugePages === null || hugePages === "never" ? "machine: no transparent huge pages" : false;
const MOVE_PAGES = numaSyscalls(process.arch).__NR_move_pages;
const COLLAPSE: Refusal = { call: process.arch === "arm64" ? 233 : 28, arguments: { 2: MMAN.MADV_COLLAPSE } };

/** Result of an arena's operation in a child process. */
async function saying(call: string, before = "", wrapper: readonly string[] = []): Promise<Record<string, unknown>> {
  const { code, signal, stdout, stderr } = await runModule(
    `
    ${before}
    import { Engine } from PINLESS;
    const engine = await Engine.open();
    const arena = await engine.arena({ bytes: 2 << 20 });
    const said = await arena.${call}.catch(({ code, message }) => ({ code, message }));
    const { inProgress } = engine.notifier;
    await engine.close();
    console.log(JSON.stringify({ ...said, inProgress, asked: engine.stats().invalidations.MIGRATE }));
    `,
    { wrapper },
  );
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

/** The error, and that nothing was invalidated. */
async function assertRefused(said: Record<string, unknown>, code: string, message: RegExp): Promise<void> {
  assert.equal(said.code, code);
  assert.match(String(said.message), message);
  assert.deepEqual([said.inProgress, said.asked], [0, 0]);
}

/** /proc/self/numa_maps: pages by node, of the mapping that begins here. */
function pagesByNode(start: number): Record<string, number> {
  const lines = readFileSync("/proc/self/numa_maps", "utf8").split("\n");
  const line = lines.find((text) => text.startsWith(start.toString(16)));
  return Object.fromEntries(
    [...(line ?? "").matchAll(/ (N\d+)=(\d+)/g)].map(([, node, pages]) => [node, Number(pages)]),
  );
}

test("Arena.migrate keeps huge pages, and counts discarded pages as done", { skip: needsHugePages }, async (t) => {
  const engine = await Engine.open();
  try {
    const arena = await engine.arena({ bytes: 8 * MIB });
    const memory = arena.alloc(8 * MIB);
    const start = addressOf(memory);
    await arena.discard(memory.subarray(6 * MIB));
    const { pages, done, busy } = await arena.migrate({ node: 0 });
    assert.deepEqual([pages, done, busy], [2048, 2048, 0]);
    assert.equal(smapsBytes("AnonHugePages", start, start + 8 * MIB), 6 * MIB);
    const nodes = pagesByNode(start);
    assert.deepEqual(nodes, { N0: 1536 });
  } catch (error) {
    if ((error as { code?: string }).code !== "ERR_PINLESS_UNSUPPORTED") throw error;
    t.skip("machine: move_pages is forbidden or missing");
  } finally {
    await engine.close();
  }
});

test("Arena.migrate where move_pages is hidden or forbidden says what to change", async () => {
  const code = "ERR_PINLESS_UNSUPPORTED";
  const call = "migrate({ node: 0 })";
  await assertRefused(await saying(call, refusing(ENOSYS, MOVE_PAGES)), code, /CONFIG_NUMA.*allow move_pages/);
  await assertRefused(await saying(call, refusing(EPERM, MOVE_PAGES)), code, /forbidden.*CAP_SYS_NICE/);
});

test("Arena.migrate to a node that the process may not use names the allowed ones", { skip: needsRoot }, async () => {
  const allowed = /^Mems_allowed_list:\s*(\S+)/m.exec(readFileSync("/proc/self/status", "utf8"))![1]!;
  const nodes = "/sys/devices/system/node";
  const script = `mount -t tmpfs none ${nodes} && echo 0,2-3,900 > ${nodes}/has_memory && exec "$@"`;
  const wrapper = ["unshare", "-m", "sh", "-c", script, "sh"];
  const said = await saying("migrate({ node: 900 })", "", wrapper);
  await assertRefused(
    said,
    "ERR_PINLESS_NO_NODE",
    /^node 900 has no memory that this process may use: choose one of 0/,
  );
  assert.doesNotMatch(String(said.message).replace("node 900", ""), /900/, `allowed are ${allowed}`);
});

test("Arena.collapse on a kernel that can't make huge pages says so", async () => {
  const said = await saying("collapse()", refusing(EINVAL, COLLAPSE));
  await assertRefused(said, "ERR_PINLESS_NO_HUGE_PAGES", hugePages === null ? /CONFIG_TRANSPARENT/ : /6\.1 or later/);
});

test("Arena.collapse without transparent huge pages says that the kernel has none", { skip: needsRoot }, async () => {
  const script = `mount -t tmpfs none /sys/kernel/mm && exec "$@"`;
  const wrapper = ["unshare", "-m", "sh", "-c", script, "sh"];
  const said = await saying("collapse()", refusing(EINVAL, COLLAPSE), wrapper);
  await assertRefused(said, "ERR_PINLESS_NO_HUGE_PAGES", /CONFIG_TRANSPARENT_HUGEPAGE/);
});
