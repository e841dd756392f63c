// docs/reproducers stays fit to be sent: its programs compile, and show on this kernel what their texts say.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { scratchDirectory } from "../support/undo.js";

const folder = path.resolve(import.meta.dirname, "../../../../docs/reproducers");
/** Kernels on which the harm was measured. A newer one may have been repaired. */
const SHOWN_ON = /^6\.18\./;
const CANT_RUN = 77;

const sources = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".c"));

function missing(): string | false {
  const { error, status } = spawnSync("cc", ["-E", "-xc", "-"], { input: "#include <liburing.h>" });
  if (error !== undefined) return "machine: no C compiler";
  return status === 0 ? false : "machine: no headers of liburing";
}
const skip = missing();

test("there are reproducers", () => {
  assert.equal(sources.length, 3);
});

for (const source of sources) {
  test(`${source} compiles without a warning`, { skip }, () => {
    for (const optimisation of ["-O0", "-O2"]) {
      const args = ["-std=gnu11", optimisation, "-Wall", "-Wextra", "-Werror", "-c", "-o", "/dev/null", source];
      const { status, stderr } = spawnSync("cc", args, { cwd: folder, encoding: "utf8" });
      assert.equal(status, 0, stderr);
    }
  });
}

/** Runs one, and gives back what it said, or null if it couldn't run here. It undoes itself what it makes. */
function run(t: TestContext, name: string, args: readonly string[]): { shown: boolean; said: string } | null {
  const TMPDIR = scratchDirectory(t);
  // Ended by the signal that its trap knows.
  const { status, stdout, stderr } = spawnSync(path.join(folder, name, "run.sh"), args, {
    encoding: "utf8",
    env: { ...process.env, TMPDIR },
    timeout: 180_000,
    killSignal: "SIGTERM",
  });
  assert.deepEqual(readdirSync(TMPDIR), [], "it leaves nothing behind");
  if (status === CANT_RUN) {
    const why = /^can't run here: (.*)$/m.exec(stdout)?.[1] ?? stderr.trim();
    t.skip(why === "needs root" ? why : `machine: ${why}`);
    return null;
  }
  assert.ok(status === 0 || status === 1, `${status}: ${stdout}${stderr}`);
  assert.match(stdout, status === 0 ? /^harm shown/m : /^not shown/m);
  return { shown: status === 0, said: stdout };
}

// The third takes its verdict from times: it's only compiled here, and run by hand.
for (const [name, args, certain] of [
  ["reclaim-loses-device-writes", [], true],
  // A disk that is as fast as writeback hides it.
  ["clone-overwritten-by-device-write", ["clone", "0.5"], false],
] as const) {
  test(`${name} shows the harm, and its control none`, { skip }, (t) => {
    const result = run(t, name, args);
    if (result === null || result.shown) return;
    // Whatever the kernel, what the controls do must be without harm.
    assert.match(result.said, /control: 0 of|controls: 0 not registered, 0 with/);
    if (certain && SHOWN_ON.test(os.release())) assert.fail(result.said);
    t.skip(`machine: not seen on this Linux ${os.release()}`);
  });
}
