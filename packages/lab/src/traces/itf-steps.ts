/**
 * Steps of a trace in ITF: those of `pinless-lab check` with actors and effects, and those of other programs with the
 * variables that changed.
 */

import { differences, type Variables } from "../check/itf-values.js";
import {
  isObject,
  type JsonObject,
  type ShownTrace,
  stringsOf,
  TraceFileError,
  type TraceStep,
} from "./shown-trace.js";

const FORMAT = "pinless-trace/1";
const FOREIGN_LANE = "model";

export function itfSteps(file: JsonObject): ShownTrace {
  const meta = isObject(file["#meta"]) ? file["#meta"] : {};
  const pinless = isObject(meta.pinless) ? meta.pinless : null;
  if (pinless !== null && pinless.format !== FORMAT)
    throw new TraceFileError(
      `the trace has the format ${JSON.stringify(pinless.format)}, and this page reads "${FORMAT}": ` +
        "open it with the page of the version that wrote it",
    );
  const states = Array.isArray(file.states) ? file.states : [];
  if (states.length === 0) throw new TraceFileError("the trace has no states");
  const bad = states.findIndex((state) => !isObject(state));
  if (bad >= 0) throw new TraceFileError(`states[${bad}] isn't an object: the file is broken there`);
  const steps = states.map((state: JsonObject, i) =>
    pinless === null ? foreignStep(state, states[i - 1], i) : ownStep(state, i),
  );
  return {
    title: typeof meta.description === "string" ? meta.description : "a trace in ITF",
    lanes: [...new Set(steps.map(({ lane }) => lane))],
    steps,
    violation: violationIn(states),
    remarks: pinless === null ? ["The file is another program's: it doesn't say who acted, or what is violated."] : [],
  };
}

function ownStep({ actor, action, effects, changed }: JsonObject, index: number): TraceStep {
  if (typeof actor !== "string" || typeof action !== "string")
    throw new TraceFileError(`states[${index}] has no "actor" and "action": the file is broken there`);
  return {
    lane: actor === "none" ? "start" : actor,
    what: action,
    notes: stringsOf(effects),
    changed: stringsOf(changed),
    causes: [],
    atMs: null,
  };
}

function foreignStep(state: JsonObject, before: JsonObject | undefined, index: number): TraceStep {
  const own = variablesOf(state);
  return {
    lane: FOREIGN_LANE,
    what: index === 0 ? "the initial state" : `state ${index}`,
    notes: [],
    changed: differences(before === undefined ? {} : variablesOf(before), own),
    causes: [],
    atMs: null,
  };
}

function variablesOf(state: JsonObject): Variables {
  return Object.fromEntries(Object.entries(state).filter(([name]) => name !== "#meta")) as Variables;
}

function violationIn(states: readonly JsonObject[]): ShownTrace["violation"] {
  const step = states.findIndex(({ violated }) => typeof violated === "string" && violated !== "none");
  if (step < 0) return null;
  const { violated, violation } = states[step]!;
  return { step, invariant: String(violated), message: String(violation) };
}
