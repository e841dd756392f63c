/** Checks of option objects. An unknown name is refused: it is most likely a typo, and would be ignored silently. */

import { PinlessError } from "../protocol/errors.js";

/** Throws `ERR_PINLESS_OPTION` unless `options` is an object with only known names; `name` is used in the message. */
export function checkOptions(name: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options))
    throw new PinlessError(
      "ERR_PINLESS_OPTION",
      `${name} takes an object with ${known.join(", ")}. Received ${shown(options)}`,
    );
  const odd = Object.keys(options).find((key) => !known.includes(key));
  if (odd !== undefined)
    throw new PinlessError("ERR_PINLESS_OPTION", `${name} has no option "${odd}"; it takes ${known.join(", ")}`);
}

/** Throws `ERR_PINLESS_OPTION` unless the value is a boolean or undefined. */
export function checkBoolean(option: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") throw badOption(option, value, "true or false");
}

export function badOption(option: string, value: unknown, allowed: string): PinlessError {
  return new PinlessError("ERR_PINLESS_OPTION", `option ${option} is ${shown(value)}; it takes ${allowed}`);
}

function shown(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
