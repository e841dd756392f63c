// In a guest, whose memory is on two NUMA nodes and partly in movable zones, and whose kernel has soft-dirty bits.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cantHaveGuests, runInGuest } from "../support/guest.js";

const skip = cantHaveGuests();
const FILES = ["dist-test/guest/numa.js", "dist-test/hazards/dirty-tracking.test.js"];

test("In a guest: two NUMA nodes, movable zones, soft-dirty bits", { skip, timeout: 300_000 }, async (t) => {
  const said = await runInGuest(t, FILES, { boot: "movablecore=512M" });
  for (const [, diagnostic] of said.matchAll(/^\s*# (figure: .*|.*pin .*|.*SKIP.*)$/gm)) t.diagnostic(diagnostic!);
  for (const summary of [/^# pass [1-9]/m, /^# fail 0$/m]) assert.ok(summary.test(said), said);
});
