/** Checks of the arguments of the public notifier, before a call changes anything. */

import { argumentError } from "./errors.js";
import { MMU_EVENTS } from "./events.js";
import type { Range } from "./ranges/ranges.js";

/** Throws `ERR_INVALID_ARG_TYPE`, or `ERR_OUT_OF_RANGE` unless `end` is above `start`. */
export function checkRange(range: Range): void {
  const { start, end } = Object(range) as Range;
  if (typeof start !== "number" || typeof end !== "number")
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      `The "range" argument must have a start and an end, which are addresses. Received ${inWords(range)}`,
    );
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end <= start)
    throw argumentError(
      "ERR_OUT_OF_RANGE",
      `The "range" argument must go from one whole address to a higher one. Received ${start} to ${end}`,
    );
}

/** Checks the event and options of a start. Throws `ERR_INVALID_ARG_VALUE` or `ERR_INVALID_ARG_TYPE`. */
export function checkStart(
  range: Range,
  event: unknown,
  options: { readonly blockable?: unknown; readonly ready?: unknown },
): void {
  checkRange(range);
  if (!(MMU_EVENTS as readonly unknown[]).includes(event))
    throw argumentError(
      "ERR_INVALID_ARG_VALUE",
      `The "event" argument must be one of ${MMU_EVENTS.join(", ")}. Received ${inWords(event)}`,
    );
  if (typeof options !== "object" || options === null)
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      `The "options" argument must be an object. Received ${inWords(options)}`,
    );
  const { blockable, ready } = options;
  if (blockable !== undefined && typeof blockable !== "boolean")
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      `The "options.blockable" argument must be a boolean. Received ${inWords(blockable)}`,
    );
  if (ready !== undefined && typeof ready !== "function")
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      `The "options.ready" argument must be a function. Received ${inWords(ready)}`,
    );
}

/** Throws `ERR_INVALID_ARG_TYPE` unless `protections` is undefined or a list of protections. */
export function checkProtections(protections: unknown): void {
  const isProtection = (each: unknown): boolean =>
    typeof (Object(each) as { readOnly: unknown }).readOnly === "boolean";
  if (!Array.isArray(protections) || !protections.every(isProtection))
    throw argumentError(
      "ERR_INVALID_ARG_TYPE",
      'The "protections" argument must be an array of { range, readOnly }, with readOnly a boolean',
    );
  for (const { range } of protections as { range: Range }[]) checkRange(range);
}

/** Throws `ERR_INVALID_ARG_TYPE` if one of the methods is missing. */
export function checkSubscriber(subscriber: unknown): void {
  const methods = Object(subscriber) as Record<string, unknown>;
  for (const name of ["isQuiet", "holds", "stop", "resume"])
    if (typeof methods[name] !== "function")
      throw argumentError("ERR_INVALID_ARG_TYPE", `The "subscriber" argument must have a method ${name}()`);
}

/** Short text for any value. It never throws, and calls no method of the value. */
export function inWords(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}
