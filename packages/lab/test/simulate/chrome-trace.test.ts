// Chrome trace events of a run: well-formed by the format's rules, the same bytes each time, with all lanes and flows.
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { runLab } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { ChromeTrace } from "../../dist/simulate/chrome-trace.js";
import { simulate } from "../../dist/simulate/run-simulation.js";

interface TraceEvent {
  readonly ph: string;
  readonly name?: string;
  readonly cat?: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly id?: number;
  readonly s?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** Checks the rules of the format; returns its events. */
function eventsOf(text: string): readonly TraceEvent[] {
  const events = (JSON.parse(text) as { traceEvents: readonly TraceEvent[] }).traceEvents;
  const open = new Map<number, string[]>();
  const lastTs = new Map<number, number>();
  const flows = new Map<number, string>();
  const named = new Set<number>();
  for (const event of events) {
    const { ph, name, pid, tid, ts, id } = event;
    const at = JSON.stringify(event);
    assert.ok(["M", "B", "E", "i", "s", "f"].includes(ph), at);
    assert.ok(Number.isInteger(pid) && Number.isInteger(tid) && ts >= 0, at);
    if (ph !== "E") assert.ok(typeof name === "string" && name !== "", at);
    if (ph === "M" && name === "thread_name") named.add(tid);
    if (ph === "M") continue;
    assert.ok(named.has(tid), `a lane without a name: ${at}`);
    assert.ok(ts >= (lastTs.get(tid) ?? 0), `time goes back: ${at}`);
    lastTs.set(tid, ts);
    const slices = open.get(tid) ?? [];
    open.set(tid, slices);
    if (ph === "B") slices.push(name!);
    if (ph === "E") assert.ok(slices.pop() !== undefined, `nothing ends: ${at}`);
    if (ph === "i") assert.equal(event.s, "t", at);
    if (ph !== "s" && ph !== "f") continue;
    // Viewers bind a flow to the slice that is open on its lane.
    assert.ok(slices.length > 0, `a flow without a slice: ${at}`);
    assert.equal(flows.get(id!), ph === "s" ? undefined : name, at);
    flows.set(id!, ph === "s" ? name! : "has arrived");
  }
  for (const [tid, slices] of open) assert.deepEqual(slices, [], `lane ${tid} has slices that don't end`);
  for (const [id, flow] of flows) assert.equal(flow, "has arrived", `flow ${id} doesn't arrive`);
  return events;
}

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
