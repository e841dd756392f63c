// Trace files as the page reads them: each kind, cut ones, and files that are none.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChromeTrace } from "../../../pinless/dist/trace/chrome-trace.js";
import { MAX_TRACE_BYTES, readTrace, whyNotRead } from "../../dist/traces/read-trace.js";
import { TraceFileError } from "../../dist/traces/shown-trace.js";

/** An ITF trace as `pinless-lab check` writes it, of two steps. */
function itf(pinless: object | null, states: readonly unknown[]): string {
  return JSON.stringify({
    "#meta": { description: "a case", ...(pinless === null ? {} : { pinless }) },
    vars: [],
    states,
  });
}

const OWN = { format: "pinless-trace/1" };
const START = { actor: "none", action: "the initial state", effects: [], changed: [], violated: "none" };
const BROKEN = {
  actor: "device",
  action: "a completes",
  effects: ["page 0 is written"],
  changed: ["pages.0: free → used"],
  violated: "EXCLUSION",
  violation: "EXCLUSION: the page is free",
};

function refused(text: string, message: RegExp): void {
  assert.throws(
    () => readTrace(text),
    (error) => error instanceof TraceFileError && message.test(error.message),
  );
}

test("readTrace: a counterexample has its actors as lanes, and the step that breaks an invariant", () => {
  const trace = readTrace(itf(OWN, [START, BROKEN]));
  assert.deepEqual(trace.lanes, ["start", "device"]);
  assert.deepEqual(trace.violation, { step: 1, invariant: "EXCLUSION", message: "EXCLUSION: the page is free" });
  assert.deepEqual(trace.steps[1]!.notes, BROKEN.effects);
  assert.deepEqual(trace.steps[1]!.changed, BROKEN.changed);
  assert.equal(trace.title, "a case");
});

test("readTrace: another program's ITF shows what changed", () => {
  const trace = readTrace(itf(null, [{ x: 1 }, { "#meta": { index: 1 }, x: 2 }]));
  assert.deepEqual(
    trace.steps.map(({ changed }) => changed),
    [["x: none → 1"], ["x: 1 → 2"]],
  );
  assert.match(trace.remarks.join(), /another program's/);
});

/** Lanes of a request that an invalidation waits for. */
function lanes(close: boolean): string {
  let text = "";
  let nowMs = 0;
  const trace = new ChromeTrace(
    (more) => {
      text += more;
    },
    () => nowMs++,
    4096,
  );
  const range = { start: 0, end: 4096 };
  trace.begin("requests", 1, "read", { slot: 1 }, { range });
  trace.begin("invalidations", 1, "CLEAR", {}, { range });
  trace.waitsFor("invalidations", 1, "requests", "waits for I/O");
  trace.end("requests", 1, { result: 4096 });
  if (close) trace.close();
  return text;
}

test("readTrace: Chrome trace events have the beginning and end of slices, with what led to them", () => {
  for (const text of [lanes(true), `{"traceEvents":${lanes(true)}}`]) {
    const { lanes: groups, steps, remarks } = readTrace(text);
    assert.deepEqual(groups, ["requests", "invalidations"]);
    assert.deepEqual(
      steps.map(({ lane, what }) => [lane, what.replace(/, after .*/, "")]),
      [
        ["requests", "read begins"],
        ["invalidations", "CLEAR begins"],
        ["requests", "read ends"],
        ["invalidations", "CLEAR ends"],
      ],
    );
    assert.deepEqual(steps[2]!.causes, [{ step: 1, name: "waits for I/O" }]);
    assert.deepEqual(steps[2]!.notes, ["result: 4096"]);
    assert.deepEqual(remarks, []);
  }
});

test("readTrace: a trace whose end is missing shows what is there, and says so", () => {
  const text = lanes(false);
  for (const cut of [text, text.slice(0, -5), `${text},\n{"ph":"B","na`]) {
    const { steps, remarks } = readTrace(cut);
    assert.ok(steps.length >= 2);
    assert.match(remarks.join(), /end of the file is missing/);
  }
});

test("readTrace: kinds of events that aren't shown are named", () => {
  const { steps, remarks } = readTrace('[{"ph":"X","pid":1,"tid":1,"ts":5,"dur":1000,"name":"a"},{"ph":"C","ts":1}]');
  assert.deepEqual(
    steps.map(({ lane, what }) => [lane, what]),
    [["process 1", "a, for 1 ms"]],
  );
  assert.match(remarks.join(), /kinds C aren't shown/);
});

test("readTrace: what isn't a trace is refused with the reason", () => {
  refused("{", /^this isn't JSON, or it's broken: /);
  refused("[1, 2", /event 0 has no "ph"/);
  refused("[{]", /^this isn't JSON/);
  refused("5", /^this is JSON, but neither an ITF trace/);
  refused('{"pinless":"1","rows":[]}', /a report of pinless bench/);
  refused("[]", /no slices and no marks/);
  refused('[{"ph":"B","ts":"soon"}]', /event 0 has no "ph", "pid", "tid" and "ts"/);
  refused(
    itf({ format: "pinless-trace/2" }, [START]),
    /has the format "pinless-trace\/2", and this page reads "pinless-trace\/1"/,
  );
  refused(itf(OWN, []), /has no states/);
  refused(itf(OWN, [START, 5]), /states\[1\] isn't an object/);
  refused(itf(OWN, [START, {}]), /states\[1\] has no "actor" and "action"/);
});

test("whyNotRead: an empty file, and one that's too large, aren't read at all", () => {
  assert.equal(whyNotRead(0), "the file is empty");
  assert.equal(whyNotRead(MAX_TRACE_BYTES), null);
  assert.match(whyNotRead(500 << 20)!, /^the file has 500 MiB, and this page reads up to 64 MiB/);
});
