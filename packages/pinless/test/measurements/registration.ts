// Costs and charges of registering buffers, on this kernel and on the guest's: npm run bench:registration.
import assert from "node:assert/strict";
import { test } from "node:test";
import "../guest/registration.js";
import { cantHaveGuests, runInGuest } from "../support/guest.js";

test("In a guest", { skip: cantHaveGuests(), timeout: 300_000 }, async (t) => {
  const said = await runInGuest(t, ["dist-test/guest/registration.js"], { nodes: 1, nodeMib: 3072 });
  for (const [, diagnostic] of said.matchAll(/^\s*# (figure: .*)$/gm)) t.diagnostic(diagnostic!);
  for (const summary of [/^# pass 4$/m, /^# fail 0$/m]) assert.ok(summary.test(said), said);
});
