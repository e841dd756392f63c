// Traces of `pinless-lab check` as files: valid ITF, the same bytes each time, and replayed to the same end.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { type Ended, runModule } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { differences, integer, setOf } from "../../dist/check/itf-values.js";

const MAIN = new URL("../../dist/main.js", import.meta.url).href;

function check(args: readonly string[]): Promise<Ended> {
  return runModule(`await import(${JSON.stringify(MAIN)});`, { args: ["check", ...args] });
}

type Json = string | number | boolean | null | Json[] | { [field: string]: Json };
interface State {
  readonly "#meta": { readonly index: number; readonly action?: number };
  readonly actor: string;
  readonly action: string;
  readonly effects: readonly string[];
  readonly changed: readonly string[];
  readonly invariants_hold: { readonly "#set": readonly string[] };
  readonly violated: string;
  readonly violation: string;
}
interface Itf {
  readonly "#meta": { readonly description: string };
  readonly vars: readonly string[];
  readonly states: readonly State[];
  readonly loop?: number;
}

/** The format's rules: https://apalache-mc.org/docs/adr/015adr-trace.html. Returns what breaks one of them. */
function brokenRules(trace: unknown): string[] {
  const { "#meta": meta, params, vars, states, loop, ...rest } = trace as Record<string, Json>;
  const broken: string[] = Object.keys(rest).map((key) => `${key}: not a field of a trace`);
  if (meta !== undefined && !isObject(meta)) broken.push("#meta: not an object");
  if (params !== undefined && !isNames(params)) broken.push("params: not names");
  if (!isNames(vars)) return [...broken, "vars: not names"];
  if (!Array.isArray(states)) return [...broken, "states: not a list"];
  if (loop !== undefined && !(Number.isInteger(loop) && (loop as number) < states.length)) broken.push("loop");
  return [...broken, ...states.flatMap((state, i) => brokenState(state, i, vars))];
}

function brokenState(state: Json, i: number, vars: readonly string[]): string[] {
  if (!isObject(state)) return [`${i}: not an object`];
  const { "#meta": meta, ...values } = state;
  const broken = Object.entries(values).flatMap(([name, value]) => brokenValue(value, `${i}.${name}`));
  if (meta !== undefined && !isObject(meta)) broken.push(`${i}: #meta`);
  if (JSON.stringify(Object.keys(values)) !== JSON.stringify(vars)) broken.push(`${i}: not exactly the variables`);
  return broken;
}

function isObject(value: unknown): value is Record<string, Json> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNames(value: unknown): value is string[] {
  return (
    Array.isArray(value) && value.every((name) => typeof name === "string") && new Set(value).size === value.length
  );
}

function brokenValue(value: Json, at: string): string[] {
  if (typeof value === "string" || typeof value === "boolean") return [];
  if (typeof value === "number") return Number.isSafeInteger(value) ? [] : [`${at}: ${value}`];
  if (value === null) return [`${at}: null`];
  if (Array.isArray(value)) return value.flatMap((each, i) => brokenValue(each, `${at}.${i}`));
  const fields = Object.keys(value);
  const special = fields.find((field) => field.startsWith("#"));
  if (special === undefined) return fields.flatMap((field) => brokenValue(value[field]!, `${at}.${field}`));
  const inside = value[special]!;
  if (fields.length !== 1) return [`${at}: ${special} beside other fields`];
  if (special === "#bigint") return /^-?[0-9]+$/.test(String(inside)) ? [] : [`${at}: ${inside}`];
  if (!Array.isArray(inside)) return [`${at}: ${special} of no list`];
  if (special === "#map" && !inside.every((pair) => Array.isArray(pair) && pair.length === 2)) return [`${at}: #map`];
  return ["#set", "#tup", "#map"].includes(special) ? brokenValue(inside, at) : [`${at}: ${special}`];
}

test("the rules of the format that the other tests check find mistakes", () => {
  const right = { vars: ["x"], states: [{ "#meta": {}, x: [1, { "#set": ["a"] }, { "#bigint": "-9" }, { f: true }] }] };
  assert.deepEqual(brokenRules(right), []);
  for (const x of [1.5, null, 2 ** 60, { "#bigint": "x" }, { "#set": 1 }, { "#map": [1] }, { "#odd": [] }])
    assert.equal(brokenRules({ vars: ["x"], states: [{ x: x as Json }] }).length, 1, JSON.stringify(x));
  assert.notDeepEqual(brokenRules({ vars: ["x", "y"], states: [{ x: 1 }] }), []);
});

test("values: an integer beyond 2^53 is a #bigint, and differences name what changed", () => {
  assert.deepEqual([integer(2 ** 53 - 1), integer(2n ** 70n)], [2 ** 53 - 1, { "#bigint": String(2n ** 70n) }]);
  const before = { a: { state: "waits", in: [] }, pages: [{ at: 1, bits: setOf({ dirty: true }) }] };
  const after = { a: { state: "runs", in: ["b"] }, pages: [{ at: 1, bits: setOf({ dirty: false }) }] };
  assert.deepEqual(differences(before, after), [
    "a.state: waits → runs",
    "a.in: [] → [b]",
    "pages.0.bits: {dirty} → {}",
  ]);
});

// Mutants of leases, the monitor and the proposal; one whose violation is found at rest, one in the middle of a call.
for (const [mutant, scenario, invariant] of [
  ["no-populate", "clean-pages", "DEVICE_WRITES_DIRTY"],
  ["reads-without-draining", "discard", "NO_STALE_IO"],
  ["notifier-no-wait", "notifier-pairs", "EXCLUSION"],
  ["no-wake-up", "pairs", "EXACTLY_ONCE"],
  ["populate-before-pinning", "within-calls", "DEVICE_WRITES_DIRTY"],
] as const)
  test(`the failure of ${mutant} is ITF, and its replay ends in the same violation`, async (t) => {
    const [file, again] = ["a.itf.json", "b.itf.json"].map((name) => path.join(scratchDirectory(t), name));
    const found = await check(["--mutant", mutant, scenario, "--failure", file!]);
    assert.equal(found.code, 1, found.stderr);
    const text = readFileSync(file!, "utf8");
    const trace = JSON.parse(text) as Itf;
    assert.deepEqual(brokenRules(trace), []);
    const last = trace.states.at(-1)!;
    assert.deepEqual([last.violated, last.invariants_hold["#set"]], [invariant, []]);
    assert.ok(last.violation.startsWith(`${invariant}: `) && trace["#meta"].description.endsWith(last.violation));
    for (const [i, state] of trace.states.entries()) {
      assert.equal(state["#meta"].index, i);
      if (state !== last) assert.equal(state.violated, "none");
      if (state !== last) assert.ok(state.invariants_hold["#set"].includes(invariant));
      // The violation may keep the last step from changing anything.
      if (i > 0 && state !== last) assert.ok(state.changed.length > 0 && state.actor !== "none", state.action);
    }
    const replayed = await check(["--replay", file!]);
    assert.deepEqual([replayed.code, replayed.stderr], [1, ""]);
    assert.match(replayed.stdout, new RegExp(`^  ==  ${invariant}: `, "m"));
    assert.match(replayed.stdout, /^ {2}the replay ends as the file does$/m);
    // The same trace, on one thread or many.
    await check(["--mutant", mutant, scenario, "--threads", "1", "--failure", again!]);
    assert.equal(readFileSync(again!, "utf8"), text);
  });

test("a sample of a run: to the state in which nothing can happen any more, with every variable by name", async (t) => {
  const file = path.join(scratchDirectory(t), "sample.itf.json");
  const written = await check(["discard-within", "--sample", file]);
  assert.deepEqual([written.code, written.stdout], [0, ""], written.stderr);
  const trace = JSON.parse(readFileSync(file, "utf8")) as Itf;
  assert.deepEqual(brokenRules(trace), []);
  for (const name of ["requests", "chunks", "leases", "invalidations", "monitor", "pages", "threads", "engine"])
    assert.ok(trace.vars.includes(name), name);
  assert.ok(trace.states.length > 10);
  assert.ok(trace.states.every(({ violated }) => violated === "none"));
  const actors = new Set(trace.states.map(({ actor }) => actor));
  for (const actor of ["program", "engine", "device", "monitor", "T1"]) assert.ok(actors.has(actor), actor);
  const { code, stdout, stderr } = await check(["--replay", file]);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, /^ {2}== {2}nothing is violated$/m);
});

test("an expected violation is written too if its scenario is named; its replay is no failure", async (t) => {
  const file = path.join(scratchDirectory(t), "pinned.itf.json");
  const found = await check(["gup-discard", "--failure", file]);
  assert.deepEqual([found.code, found.stderr], [0, `the trace is in ${file}\n`]);
  const { code, stdout } = await check(["--replay", file]);
  assert.equal(code, 0);
  assert.match(stdout, /^ {2}== {2}NO_STALE_IO: /m);
  // Without its violation, the file promises another end than there is.
  const trace = JSON.parse(readFileSync(file, "utf8"));
  trace["#meta"].pinless.violated = null;
  trace.states[1].action = "something else";
  writeFileSync(file, JSON.stringify(trace));
  const other = await check(["--replay", file]);
  assert.equal(other.code, 1);
  assert.match(other.stdout, /^ {2}step 1 has another meaning than in the file: something else$/m);
  assert.match(other.stdout, /^ {2}the file ends with no violation$/m);
});

test("a file that is no trace is an error with its line; so is a step that isn't possible", async (t) => {
  const file = path.join(scratchDirectory(t), "bad.itf.json");
  await check(["gup-discard", "--sample", file]);
  const right = readFileSync(file, "utf8");
  const refused: [string, RegExp][] = [
    ["{", /bad\.itf\.json:1: /],
    ["[]", /isn't a trace of pinless-lab check --failure or --sample/],
    ['{"#meta":{"format":"ITF"},"vars":[],"states":[]}', /"#meta" has no "pinless"/],
    [right.replace("pinless-trace/1", "pinless-trace/9"), /:\d+: the trace is "pinless-trace\/9", and this version/],
    [right.replace(/"case": "gup/, '"case": "gap'), /:\d+: the scenario "gup-discard" has no case "gap-/],
    [right.replace("requests:", "request:"), /the scenario in .*bad\.itf\.json:\d+: "request" isn't one of/],
    [right.replace('"mutant": null', '"mutant": "../x"'), /:\d+: "mutant" is the name of one, or null/],
    [right.replace('"violated": null', '"violated": { "invariant": "NONE" }'), /:\d+: "violated" has an invariant/],
    [right.replace('"action": 0\n', '"action": -1\n'), /:\d+: "action" is the number of an action, not -1/],
  ];
  for (const [text, message] of refused) {
    assert.notEqual(text, right, String(message));
    writeFileSync(file, text);
    const { code, stdout, stderr } = await check(["--replay", file]);
    assert.deepEqual([code, stdout], [2, ""], stderr);
    assert.match(stderr, message);
  }
  writeFileSync(file, right.replace('"action": 0\n', '"action": 2\n'));
  const impossible = await check(["--replay", file]);
  assert.equal(impossible.code, 1, impossible.stderr);
  assert.match(impossible.stdout, /^ {2}step 1 isn't possible any more: the program submits a/m);
  for (const args of [
    ["pairs", "--replay", file],
    ["--sample", file],
    ["--replay", file, "--json"],
  ])
    assert.equal((await check(args)).code, 2, args.join(" "));
});
