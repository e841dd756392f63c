// Counterexamples that the page shows: each still is what its mutant does.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { runLab } from "../../../pinless/dist-test/support/children.js";

const SHIPPED = path.join(import.meta.dirname, "../../page/traces/shipped");

for (const name of readdirSync(SHIPPED))
  test(`${name} is replayed to its violation`, async () => {
    const { stdout, stderr } = await runLab(["check", "--replay", path.join(SHIPPED, name)]);
    assert.match(stdout, /the replay ends as the file does/, stderr);
    assert.doesNotMatch(stdout, /another meaning|isn't possible/);
  });
