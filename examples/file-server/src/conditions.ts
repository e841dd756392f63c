/** Validators of a file, and the conditions of RFC 9110, section 13, in its order of precedence. */

import type { BigIntStats } from "node:fs";
import type { IncomingHttpHeaders } from "node:http";

export type Validators = ReturnType<typeof validatorsOf>;

/** Age in ms up to which a file may change again without its modification time changing: its ETag is weak till then. */
const YOUNG_MS = 2000;

export function validatorsOf({ size, mtimeNs, mtimeMs, ino }: BigIntStats, now = Date.now()) {
  const etag = `"${[size, mtimeNs, ino].map((each) => BigInt.asUintN(64, each).toString(16)).join("-")}"`;
  const modified = Number(mtimeMs);
  return {
    etag: now - modified < YOUNG_MS ? `W/${etag}` : etag,
    // No file was modified after now, whatever its clock says.
    lastModified: new Date(Math.min(modified, now)).toUTCString(),
  };
}

/** The status that the conditions of a GET or HEAD lead to; null if they let it go ahead. */
export function failedCondition(headers: IncomingHttpHeaders, { etag, lastModified }: Validators): 304 | 412 | null {
  const modified = Date.parse(lastModified);
  const ifMatch = headers["if-match"];
  const unmodifiedSince = dateOf(headers["if-unmodified-since"]);
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, etag, "strong")) return 412;
  } else if (unmodifiedSince !== null && modified > unmodifiedSince) return 412;
  const ifNoneMatch = headers["if-none-match"];
  const modifiedSince = dateOf(headers["if-modified-since"]);
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, etag, "weak") ? 304 : null;
  return modifiedSince !== null && modified <= modifiedSince ? 304 : null;
}

/** True if a Range header is to be followed, because there is no If-Range or because it names the file as it is now. */
export function rangeHolds(
  { "if-range": condition }: IncomingHttpHeaders,
  { etag, lastModified }: Validators,
): boolean {
  if (condition === undefined) return true;
  // Node's types have a list for headers that they don't know.
  const ifRange = String(condition);
  if (etag.startsWith("W/")) return false;
  return ifRange === etag || dateOf(ifRange) === Date.parse(lastModified);
}

/** True if a list of entity tags, or `*`, has the file's. A malformed list has nothing. */
function matches(list: string, etag: string, comparison: "strong" | "weak"): boolean {
  if (list.trim() === "*") return true;
  if (!/^\s*(?:(?:W\/)?"[^"\s]*"\s*(?:,\s*|$))+$/.test(list)) return false;
  const tags: string[] = list.match(/(?:W\/)?"[^"]*"/g) ?? [];
  if (comparison === "strong") return !etag.startsWith("W/") && tags.includes(etag);
  const opaque = (tag: string): string => tag.replace(/^W\//, "");
  return tags.some((tag) => opaque(tag) === opaque(etag));
}

const DATES = [
  /^[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT$/,
  /^[A-Z][a-z]{5,8}, \d\d-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d GMT$/,
  /^[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}$/,
];

/** Milliseconds of a date in one of the three forms that HTTP has; null for anything else, which is to be ignored. */
function dateOf(text: string | undefined): number | null {
  if (text === undefined || !DATES.some((form) => form.test(text))) return null;
  const ms = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(ms) ? null : ms;
}
