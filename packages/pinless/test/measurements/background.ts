// NUMA balancing and khugepaged on memory under constant reads, in a guest, where nothing else is moved or joined:
// npm run bench:background. It is no test, because how much the kernel does in its five visits is chance.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cantHaveGuests, runInGuest } from "../support/guest.js";

test("In a guest: NUMA balancing and khugepaged", { skip: cantHaveGuests(), timeout: 300_000 }, async (t) => {
  const said = await runInGuest(t, ["dist-test/guest/background.js"]);
  for (const [, diagnostic] of said.matchAll(/^\s*# (figure: .*|after each visit.*|round .*)$/gm))
    t.diagnostic(diagnostic!);
  for (const summary of [/^# pass 2$/m, /^# fail 0$/m]) assert.ok(summary.test(said), said);
});
