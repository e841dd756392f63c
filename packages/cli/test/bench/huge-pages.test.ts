// The process that asks for the host's huge pages gives them back, however it ends, and there's one at a time.
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import type { HugePagesOrder, HugePagesReply } from "../../dist/bench/harms/host-huge-pages.js";

const MAIN = path.resolve(import.meta.dirname, "../../dist/bench/huge-pages-process.js");
const POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
/** A page at a time, so that a raise lasts for a while; 512 MiB at most. */
const ORDER: HugePagesOrder = { leaveBytes: 2 ** 30, mostPages: 256, stepPages: 1, limitMs: 20_000 };
/** A raise so long that the test can interrupt it, on a busy machine too. */
const LONG_ORDER: HugePagesOrder = { ...ORDER, mostPages: 4096 };

function skipped(): string | false {
  if (process.geteuid?.() !== 0) return "needs root";
  return existsSync(POOL) ? false : "machine: no pool of huge pages of 2 MiB";
}

function pool(): number {
  return Number(readFileSync(POOL, "utf8"));
}

async function start(t: TestContext): Promise<{ child: ChildProcess; said: HugePagesReply }> {
  const child = fork(MAIN, [], { detached: true, execArgv: [] });
  undoing(t, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    if (child.connected) child.disconnect();
    await gone;
  });
  const [said] = await once(child, "message");
  return { child, said };
}

for (const [how, end] of [
  ["its bench goes", (child: ChildProcess): void => child.disconnect()],
  ["SIGTERM", (child: ChildProcess): void => void child.kill("SIGTERM")],
  ["Ctrl-C", (child: ChildProcess): void => void child.kill("SIGINT")],
] as const) {
  test(`${how} in the middle: the pool is as before`, { skip: skipped() }, async (t) => {
    const had = pool();
    const { child, said } = await start(t);
    assert.deepEqual(said, { ready: true });
    const gone = once(child, "exit");
    child.send(LONG_ORDER);
    await until("the pool to grow", () => pool() > had, { everyMs: 0 });
    end(child);
    assert.deepEqual(await gone, [0, null]);
    assert.equal(pool(), had);
  });
}

test("a complete request reports its pages, and the pool is as before", { skip: skipped() }, async (t) => {
  const had = pool();
  const { child } = await start(t);
  child.send({ ...ORDER, stepPages: 64 });
  const [{ raised }] = await once(child, "message");
  assert.ok(raised.got <= raised.asked && raised.asked <= ORDER.mostPages);
  assert.ok(raised.stepsMs.length >= raised.got / 64);
  assert.equal(pool(), had);
});

test("a second process reports that another one is at work", { skip: skipped() }, async (t) => {
  await start(t);
  const { said } = await start(t);
  assert.match((said as { unavailable: string }).unavailable, /another bench/);
});
