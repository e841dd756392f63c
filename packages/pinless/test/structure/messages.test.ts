// Every message that a user can meet is in scripts/messages.txt, by its code, where a person has read it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));

test("every message of the sources is in scripts/messages.txt, and no other", () => {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/messages.mjs"], { cwd: ROOT, encoding: "utf8" });
  assert.equal(stderr, "");
  assert.equal(status, 0);
});
