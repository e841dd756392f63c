// The table of options: the page that shows it, and the help.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { runCommand } from "../../../pinless/dist-test/support/children.js";

const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));

test("docs/fio.md has the table of options", () => {
  const { status, stderr } = spawnSync(process.execPath, ["scripts/fio-options.mjs"], { cwd: ROOT, encoding: "utf8" });
  assert.equal(stderr, "");
  assert.equal(status, 0);
});

test("--cmdhelp explains an option, by an alias too, or all of them", async () => {
  const one = await runCommand(["bench", "--cmdhelp=blocksize"]);
  assert.match(one.stdout, /^bs, blocksize +bytes of an I\/O \(.*default 4096\)\n$/);
  const refused = await runCommand(["bench", "--cmdhelp=ioscheduler"]);
  assert.match(refused.stdout, /refused: /);
  const all = await runCommand(["bench", "--cmdhelp"]);
  assert.ok(all.stdout.split("\n").length > 100);
  const none = await runCommand(["bench", "--cmdhelp=nonsense"]);
  assert.match(none.stderr, /no option nonsense/);
});
