/**
 * Trace files of `pinless-lab check`, in ITF: a path of actions from the initial state of a scenario, with the whole
 * state after each of them. The file contains the scenario, so that it alone suffices to replay the path.
 */

import { printable } from "@pinless/cli/command";
import type { BrokenStep } from "../../check/explore.js";
import { setOf, type Value } from "../../check/itf-values.js";
import type { Retraced, RetracedStep } from "../../check/retrace.js";
import { INVARIANT_NAMES, type Scenario } from "../../check/scenario.js";
import { type InputSource, inputErrorAt, shown } from "../../simulate/input-error.js";
import { readJson } from "../json-input.js";
import { parseScenario } from "./scenario-file.js";

const FORMAT = "pinless-trace/1";
/** Size of a trace of a thousand steps. */
const MAX_BYTES = 16 << 20;
const MAX_STEPS = 10_000;

/** Scenario, case and engine of a trace. */
export interface TraceOrigin {
  /** Name and text of the scenario file. */
  readonly name: string;
  readonly text: string;
  readonly case: string;
  /** The mutant that was explored; null for the shipped engine. */
  readonly mutant: string | null;
}

interface TraceMeta extends TraceOrigin {
  readonly format: typeof FORMAT;
  readonly violated: BrokenStep | null;
}

/** Makes the ITF object of a trace. The same path gives the same object. */
export function traceFile(origin: TraceOrigin, { initial, steps, broken, loop }: Retraced): object {
  const pinless: TraceMeta = { format: FORMAT, ...origin, violated: broken };
  const found = broken === null ? "a run in which nothing is violated" : broken.message;
  const own = { actor: "none", action: "the initial state", effects: [], changed: [] };
  return {
    "#meta": {
      format: "ITF",
      "format-description": "https://apalache-mc.org/docs/adr/015adr-trace.html",
      source: `${origin.name}.yaml`,
      description: `${origin.case}: ${found}`,
      pinless,
    },
    vars: [...Object.keys({ ...own, ...verdict(null) }), ...Object.keys(initial)],
    states: [
      { "#meta": { index: 0 }, ...own, ...verdict(steps.length === 0 ? broken : null), ...initial },
      ...steps.map((step, i) => stateAfter(step, i + 1, i + 1 === steps.length ? broken : null)),
    ],
    ...(loop === null ? {} : { loop }),
  };
}

function stateAfter(
  { actor, action, what, then, changed, variables }: RetracedStep,
  index: number,
  by: BrokenStep | null,
) {
  return { "#meta": { index, action }, actor, action: what, effects: then, changed, ...verdict(by), ...variables };
}

/** Renders the invariants after a step: the first violation ends the step, so the others aren't judged there. */
function verdict(broken: BrokenStep | null): Readonly<Record<string, Value>> {
  const holds = Object.fromEntries(INVARIANT_NAMES.map((name) => [name, broken === null]));
  return { invariants_hold: setOf(holds), violated: broken?.invariant ?? "none", violation: broken?.message ?? "none" };
}

/** A trace to be replayed. */
export interface TraceToReplay extends TraceMeta {
  readonly scenario: Scenario;
  /** Numbers of the actions, and their texts. */
  readonly path: readonly number[];
  readonly texts: readonly string[];
}

/** Reads a trace file. Throws `UsageError` if it can't be read, and `InputError` if it isn't a trace. */
export function readTrace(file: string): TraceToReplay {
  const source = readJson(file, MAX_BYTES);
  const refuse = (path: readonly string[], why: string): never => {
    throw inputErrorAt(source, path, why);
  };
  const { "#meta": meta, states } = objectOf(source.value);
  const { pinless } = objectOf(meta);
  const { format, name, text, case: called, mutant, violated } = objectOf(pinless);
  if (typeof format !== "string" || !format.startsWith("pinless-trace/"))
    refuse([], 'this isn\'t a trace of pinless-lab check --failure or --sample: "#meta" has no "pinless"');
  if (format !== FORMAT)
    refuse(["#meta", "pinless", "format"], `the trace is ${shown(format)}, and this version reads "${FORMAT}"`);
  if (typeof text !== "string" || typeof name !== "string")
    return refuse(["#meta", "pinless"], '"name" and "text" are the name and the text of a scenario');
  if (mutant !== null && (typeof mutant !== "string" || !/^[a-z0-9-]{1,64}$/.test(mutant)))
    return refuse(["#meta", "pinless", "mutant"], `"mutant" is the name of one, or null; not ${shown(mutant)}`);
  const scenario = parseScenario(text, printable(name), `the scenario in ${file}`).cases.find(
    (each) => each.name === called,
  );
  if (scenario === undefined)
    return refuse(["#meta", "pinless", "case"], `the scenario "${name}" has no case ${shown(called)}`);
  if (!Array.isArray(states) || states.length === 0 || states.length > MAX_STEPS)
    return refuse(["states"], `"states" is a list of 1 to ${MAX_STEPS} states`);
  const steps = states.slice(1).map((state: unknown, i) => stepOf(source, state, i + 1));
  return {
    format: FORMAT,
    name,
    text,
    case: scenario.name,
    mutant,
    violated: violatedOf(violated, refuse),
    scenario,
    path: steps.map(({ action }) => action),
    texts: steps.map(({ what }) => what),
  };
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function stepOf(source: InputSource, state: unknown, index: number): { action: number; what: string } {
  const { "#meta": meta, action: what } = objectOf(state);
  const { action } = objectOf(meta);
  const path = ["states", String(index)];
  if (!Number.isInteger(action) || (action as number) < 0 || (action as number) > 2 ** 31)
    throw inputErrorAt(source, [...path, "#meta"], `"action" is the number of an action, not ${shown(action)}`);
  if (typeof what !== "string")
    throw inputErrorAt(source, path, `"action" is the text of an action, not ${shown(what)}`);
  return { action: action as number, what };
}

function violatedOf(value: unknown, refuse: (path: readonly string[], why: string) => never): BrokenStep | null {
  if (value === null) return null;
  const { invariant: named, message } = objectOf(value);
  const invariant = INVARIANT_NAMES.find((name) => name === named);
  if (invariant === undefined || typeof message !== "string")
    return refuse(["#meta", "pinless", "violated"], '"violated" has an invariant and a message, or is null');
  return { invariant, message };
}
