/** Checks files against lists of checksums, with the output and the result of `sha256sum --check`. */

import { readFileSync } from "node:fs";
import { bytesOf, nameOf } from "../command/byte-names.js";
import { printNames } from "../command/output.js";
import type { Algorithm } from "./algorithms.js";
import { type Hashed, STDIN } from "./hash-messages.js";
import type { HashPool } from "./hash-pool.js";
import { escapedName, SumLineReader } from "./sum-lines.js";

export interface CheckStyle {
  readonly ignoreMissing: boolean;
  readonly quiet: boolean;
  readonly status: boolean;
  readonly strict: boolean;
  readonly warn: boolean;
}

interface Listed {
  readonly hex: string;
  readonly name: string;
}

/** Reports of checks: complaints, and each file that was hashed or not. */
export interface CheckReports {
  complain(message: string): void;
  hashed(name: string, hashed: Hashed): void;
}

/** Checks the files of a list; true if none is amiss. Throws the error of node:fs if the list can't be read. */
export async function checkList(
  list: string,
  algorithm: Algorithm,
  pool: HashPool,
  style: CheckStyle,
  reports: CheckReports,
): Promise<boolean> {
  const shownList = list === STDIN ? "'standard input'" : list;
  const { listed, malformed } = readList(list, shownList, algorithm, style, reports);
  if (listed.length === 0) {
    reports.complain(`${shownList}: no properly formatted checksum lines found`);
    return false;
  }
  let matched = 0;
  let mismatched = 0;
  let unread = 0;
  for await (const [{ name, hex }, hashed] of pool.each(listed, (each) => each.name)) {
    if ("code" in hashed && hashed.code === "ENOENT" && style.ignoreMissing) continue;
    reports.hashed(name, hashed);
    const verdict = "code" in hashed ? "FAILED open or read" : hashed.hex === hex.toLowerCase() ? "OK" : "FAILED";
    if (verdict === "OK") matched++;
    else if (verdict === "FAILED") mismatched++;
    else unread++;
    if (!style.status && !(style.quiet && verdict === "OK")) printNames(`${shownName(name)}: ${verdict}\n`);
  }
  if (!style.status) {
    const warn = (count: number, one: string, many: string): void => {
      if (count > 0) reports.complain(`WARNING: ${count} ${count === 1 ? one : many}`);
    };
    warn(malformed, "line is improperly formatted", "lines are improperly formatted");
    warn(unread, "listed file could not be read", "listed files could not be read");
    warn(mismatched, "computed checksum did NOT match", "computed checksums did NOT match");
    if (style.ignoreMissing && matched === 0) reports.complain(`${shownList}: no file was verified`);
  }
  return matched > 0 && mismatched === 0 && unread === 0 && (!style.strict || malformed === 0);
}

function readList(
  list: string,
  shownList: string,
  algorithm: Algorithm,
  style: CheckStyle,
  reports: CheckReports,
): { readonly listed: readonly Listed[]; readonly malformed: number } {
  // Each byte is a character until a line is known to have a name, so that broken lists are no problem.
  const text = readFileSync(list === STDIN ? 0 : bytesOf(list), "latin1");
  const lines = text.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const reader = new SumLineReader(algorithm);
  const listed: Listed[] = [];
  let malformed = 0;
  lines.forEach((whole, i) => {
    const line = whole.replace(/\r$/, "");
    if (line === "" || whole.startsWith("#")) return;
    const found = reader.read(line);
    if (found !== null && !(list === STDIN && found.name === STDIN))
      listed.push({ hex: found.hex, name: nameOf(Buffer.from(found.name, "latin1")) });
    else {
      malformed++;
      if (style.warn) reports.complain(`${shownList}: ${i + 1}: improperly formatted ${algorithm.tag} checksum line`);
    }
  });
  return { listed, malformed };
}

/** A name in the result of a check: escaped only if it would be several lines. */
function shownName(name: string): string {
  return name.includes("\n") ? `\\${escapedName(name)}` : name;
}
