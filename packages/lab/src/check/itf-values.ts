/**
 * Values of variables in traces that others can read, as expressions of ITF, the Informal Trace Format of Apalache and
 * Quint (https://apalache-mc.org/docs/adr/015adr-trace.html).
 */

export type Value = string | number | boolean | readonly Value[] | { readonly [field: string]: Value };

/** Variables of a state, by name. */
export type Variables = Readonly<Record<string, Value>>;

/** Makes a set of those names whose flag is set. */
export function setOf(names: Readonly<Record<string, boolean>>): Value {
  return { "#set": Object.keys(names).filter((name) => names[name] === true) };
}

/** Makes an integer. A JSON number is exact up to 2^53 only. */
export function integer(n: number | bigint): Value {
  return typeof n === "bigint" || !Number.isSafeInteger(n) ? { "#bigint": String(BigInt(n)) } : n;
}

/** Lists the differences between two values, one line each: where, the value before, and the value after. */
export function differences(before: Value, after: Value, at = ""): string[] {
  if (isRecord(before) && isRecord(after)) {
    const fields = Object.keys({ ...before, ...after });
    return fields.flatMap((field) => differencesIn(before[field], after[field], at === "" ? field : `${at}.${field}`));
  }
  const [from, to] = [JSON.stringify(before), JSON.stringify(after)];
  return from === to ? [] : [`${at}: ${plain(before)} → ${plain(after)}`];
}

function differencesIn(before: Value | undefined, after: Value | undefined, at: string): string[] {
  return differences(before ?? "none", after ?? "none", at);
}

/** True for records, and for lists of records, whose fields are their indices. */
function isRecord(value: Value): value is { readonly [field: string]: Value } {
  if (typeof value !== "object") return false;
  if (Array.isArray(value)) return value.length > 0 && value.every((each) => typeof each === "object");
  return !Object.keys(value).some((field) => field.startsWith("#"));
}

/** Renders a value for a line of text. */
function plain(value: Value): string {
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return `[${value.map(plain).join(", ")}]`;
  const { "#set": set, "#bigint": big } = value as Readonly<Record<string, Value>>;
  if (big !== undefined) return plain(big);
  return set === undefined ? JSON.stringify(value) : `{${(set as readonly Value[]).map(plain).join(", ")}}`;
}
