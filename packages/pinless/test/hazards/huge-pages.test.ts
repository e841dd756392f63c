// A guest whose whole memory can become huge pages: how many can be had beside leases, and beside lifetime
// registrations.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cantHaveGuests, runInGuest } from "../support/guest.js";

test("In a guest: huge pages", { skip: cantHaveGuests(), timeout: 300_000 }, async (t) => {
  // One node and processor: what is freed on one is taken on another only when it has no more.
  const said = await runInGuest(t, ["dist-test/guest/huge-pages.js"], { nodes: 1, nodeMib: 800 });
  for (const [, diagnostic] of said.matchAll(/^\s*# (figure: .*|.* areas .*)$/gm)) t.diagnostic(diagnostic!);
  for (const summary of [/^# pass [1-9]/m, /^# fail 0$/m]) assert.ok(summary.test(said), said);
});
