// Chrome trace events of a run: well-formed by the format's rules, the same bytes each time, with all lanes and flows.
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ChromeTrace } from "../../../pinless/dist/trace/chrome-trace.js";
import { runLab } from "../../../pinless/dist-test/support/children.js";
import { eventsOf } from "../../../pinless/dist-test/support/trace-events.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { simulate } from "../../dist/simulate/run-simulation.js";

async function lanesOf(seed: number, requests: number): Promise<{ text: string; digest: string }> {
  let text = "";
  const { trace } = await simulate({
    seed,
    requests,
    lanes: (more) => {
      text += more;
    },
  });
  return { text, digest: trace };
}

test("runs of several seeds have every lane and every kind of flow, and lanes change nothing", async () => {
  const seen = new Set<string>();
  // Seeds in which other code discards, leases are taken, and invalidations meet both I/O and leases.
  for (const seed of [5, 7, 9, 20, 48]) {
    const { text, digest } = await lanesOf(seed, 300);
    for (const { ph, name, cat } of eventsOf(text))
      if (ph !== "E") seen.add(cat === "flow" ? `→ ${name}` : (cat ?? ""));
    assert.equal(digest, (await simulate({ seed, requests: 300 })).trace);
  }
  for (const name of ["requests", "invalidations", "leases", "kernel", "monitor", "other threads"])
    assert.ok(seen.has(name), name);
  for (const flow of ["waits for I/O", "is drained for", "is dropped", "asks for the drop"])
    assert.ok(seen.has(`→ ${flow}`), flow);
});

test("a run that fails ends its slices, and shows the failure", async () => {
  const lanes: string[] = [];
  const trace = new ChromeTrace(
    (text) => lanes.push(text),
    () => 1,
    4096,
  );
  trace.begin("requests", 1, "read", {}, { range: { start: 0, end: 4096 } });
  trace.begin("invalidations", 1, "discard", {}, { range: { start: 0, end: 4096 } });
  trace.waitsFor("invalidations", 1, "requests", "waits for I/O");
  trace.close();
  const flows = eventsOf(lanes.join("")).filter(({ cat }) => cat === "flow");
  assert.deepEqual(
    flows.map(({ ph }) => ph),
    ["s", "f"],
  );
});

test("simulate trace --trace-json: the file has the same bytes on every run, and the report is printed", async (t) => {
  const file = path.join(scratchDirectory(t), "trace.json");
  const args = ["simulate", "trace", "--seed", "4", "--requests", "200", "--trace-json", file];
  const texts: string[] = [];
  for (let i = 0; i < 2; i++) {
    const { code, stdout, stderr } = await runLab(args);
    assert.deepEqual([code, stderr], [0, ""]);
    assert.equal(JSON.parse(stdout).failure, null);
    texts.push(readFileSync(file, "utf8"));
    rmSync(file);
  }
  assert.equal(texts[0], texts[1]);
  eventsOf(texts[0]!);
  const refused = await runLab([...args.slice(0, -1), path.join(file, "none")]);
  assert.equal(refused.code, 2, refused.stderr);
  assert.ok(!existsSync(file));
});
