// In a guest: memory on two NUMA nodes, and on movable zones. What it runs is test/guest/numa.ts.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cantHaveGuests, runInGuest } from "../support/guest.js";

const skip = cantHaveGuests();

test("In a guest with two nodes and movable zones", { skip, timeout: 300_000 }, async (t) => {
  const said = await runInGuest(t, ["dist-test/guest/numa.js"], "movablecore=512M");
  for (const [, diagnostic] of said.matchAll(/^\s*# (figure: .*|.*pin .*)$/gm)) t.diagnostic(diagnostic!);
  for (const summary of [/^# pass [1-9]/m, /^# fail 0$/m, /^# skipped 0$/m]) assert.ok(summary.test(said), said);
});
