/** Overrides of a run's generated settings, read from a file and validated. */

import { settingsOf } from "pinless/portable";
import type { KernelDesign } from "../model/tables.js";
import { TAG_WAYS } from "../model/tags.js";
import { InputError, shown } from "./input-error.js";
import { MAPPED_FILES, type Swarm, swarmOf } from "./swarm.js";

/**
 * Limits of settings beyond which a machine would be impossible, or a run would never end. All others are from 0 on.
 */
const LIMITS: Readonly<Record<string, readonly [least: number, most: number]>> = {
  arenaMiB: [1, 256],
  leaseCostPages: [0, 1_000_000],
  // Less doesn't suffice for a ring; 0 stands for root.
  memlockPages: [64, 2 ** 30],
  inFlight: [1, 1024],
  nodes: [1, 64],
  requestPages: [1, 8],
  stormTimes: [1, 1_000_000],
  operationsPerRequest: [0, 1000],
  writeShare: [0, 1],
  "faults.fails": [0, 1],
  "faults.short": [0, 1],
  "faults.refuses": [0, 1],
  "faults.noLease": [0, 1],
  "faults.stalls": [0, 1],
  "faults.late": [0, 1],
};

/**
 * Limits of times. With a shorter time between two events no other events would get their turn; with a longer one, the
 * run would hardly ever end.
 */
const MS: readonly [least: number, most: number] = [0.0001, 10_000];
/** Settings that are whole numbers: counts, as opposed to shares, times and probabilities. */
const WHOLE = ["arenaMiB", "leaseCostPages", "inFlight", "nodes", "requestPages", "stormTimes", "memlockPages"];
/** Settings that may be 0, which leaves a part out of the run. */
const MAY_BE_0 = /Ms(\.\d)?$|^memlockPages$/;

/** Words allowed for each setting. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  "timing.tags": TAG_WAYS,
  mappedFile: MAPPED_FILES,
  design: ["gup", "notifier"] satisfies readonly KernelDesign[],
};

/** Checks the overrides of a seed's run. Throws `InputError`, or what `errorAt` makes of the path and the reason. */
export function changesOf(
  seed: number,
  value: unknown,
  errorAt: (path: readonly string[], why: string) => InputError = (_, why) => new InputError(why),
): Partial<Swarm> {
  const full = swarmOf(seed);
  const refuse: Refuse = (path, why) => {
    throw errorAt(path, why);
  };
  if (!isObject(value)) refuse([], `changes are names with values, not ${shown(value)}`);
  const changes = value as Partial<Swarm>;
  for (const [key, changed] of Object.entries(changes)) {
    if (!Object.hasOwn(full, key)) refuse([key], `a run has no "${key}"; it has ${Object.keys(full).join(", ")}`);
    alike(full[key as keyof Swarm], changed, [key], refuse);
  }
  if (changes.engine !== undefined) tryEngine(changes.engine, refuse);
  const [least, most] = changes.timing?.deviceMs ?? [0, 0];
  if (least > most)
    refuse(["timing", "deviceMs"], `a device takes from its least time to its most, not from ${least} to ${most}`);
  return changes;
}

type Refuse = (path: readonly string[], why: string) => never;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value has the shape of the one that it replaces. */
function alike(right: unknown, value: unknown, path: readonly string[], refuse: Refuse): void {
  const name = path.join(".");
  if (Array.isArray(right)) {
    if (!Array.isArray(value) || value.length !== right.length)
      refuse(path, `"${name}" is ${right.length} values, not ${shown(value)}`);
    else for (const [i, each] of right.entries()) alike(each, value[i], [...path, String(i)], refuse);
  } else if (isObject(right)) {
    const keys = Object.keys(right);
    if (!isObject(value)) refuse(path, `"${name}" has ${keys.join(", ")}; not ${shown(value)}`);
    const odd = Object.keys(value).find((key) => !keys.includes(key));
    if (odd !== undefined) refuse([...path, odd], `"${name}" has no "${odd}"; it has ${keys.join(", ")}`);
    const missing = keys.find((key) => !(key in value));
    if (missing !== undefined) refuse(path, `"${name}" has ${keys.join(", ")}: "${missing}" is missing`);
    for (const key of keys) alike(right[key], value[key], [...path, key], refuse);
  } else if (typeof right === "number") {
    const mayBe0 = MAY_BE_0.test(name);
    const [least, most] = LIMITS[name] ?? (mayBe0 ? MS : [0, Number.MAX_SAFE_INTEGER]);
    const whole = WHOLE.includes(name);
    const isNumber = typeof value === "number" && (!whole || Number.isInteger(value));
    if (!isNumber || !((value >= least && value <= most) || (mayBe0 && value === 0))) {
      const range = `${whole ? "whole " : ""}number from ${least} to ${most}${mayBe0 ? ", or 0" : ""}`;
      refuse(path, `"${name}" is a ${range}, not ${shown(value)}`);
    }
  } else if (name in WORDS && !WORDS[name]!.includes(value as string))
    refuse(path, `"${name}" is ${WORDS[name]!.join(" or ")}, not ${shown(value)}`);
  else if (typeof value !== typeof right) refuse(path, `"${name}" is a ${typeof right}, not ${shown(value)}`);
}

function tryEngine(engine: Swarm["engine"], refuse: Refuse): void {
  try {
    settingsOf(engine, Number.POSITIVE_INFINITY);
  } catch (error) {
    refuse(["engine"], (error as Error).message);
  }
}
