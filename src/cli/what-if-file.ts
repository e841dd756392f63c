/** Reads a what-if file so that whatever is wrong with it can be said with its line: JSON.parse forgets where things stood. */

import { readFileSync } from "node:fs";
import { evaluate, type MemberNode, parse, type ValueNode } from "@humanwhocodes/momoa";
import { WhatIfError } from "../simulate/what-if/error.js";
import type { PlanSource } from "../simulate/what-if/plan.js";

/** Throws `WhatIfError`. */
export function readWhatIf(path: string): PlanSource {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new WhatIfError("ERR_WHAT_IF_UNREADABLE", (error as Error).message, null);
  }
  return sourceOf(text);
}

function sourceOf(text: string): PlanSource {
  const body = parsed(text);
  refuseTwins(body);
  return { value: evaluate(body), lineOf: (path) => lineOf(body, path) };
}

function parsed(text: string): ValueNode {
  try {
    return parse(text).body;
  } catch (error) {
    const { message, line } = error as Error & { line?: number };
    // Its position comes with the line.
    throw new WhatIfError("ERR_WHAT_IF_JSON", message.replace(/ \(\d+:\d+\)$/, ""), line ?? null);
  }
}

/** Of two with one name the first would be ignored without a word. */
function refuseTwins(node: ValueNode): void {
  if (node.type === "Array") for (const { value } of node.elements) refuseTwins(value);
  if (node.type !== "Object") return;
  const seen = new Set<string>();
  for (const member of node.members) {
    const name = nameOf(member);
    if (seen.has(name)) throw new WhatIfError("ERR_WHAT_IF_WORD", `"${name}" is there twice`, member.loc.start.line);
    seen.add(name);
    refuseTwins(member.value);
  }
}

function nameOf({ name }: MemberNode): string {
  return name.type === "String" ? name.value : name.name;
}

function lineOf(body: ValueNode, path: readonly string[]): number | null {
  let node = body;
  let line = body.loc.start.line;
  for (const key of path) {
    if (node.type === "Object") {
      const member = node.members.find((candidate) => nameOf(candidate) === key);
      if (member === undefined) return null;
      line = member.loc.start.line;
      node = member.value;
    } else if (node.type === "Array") {
      const element = node.elements[Number(key)];
      if (element === undefined) return null;
      line = element.loc.start.line;
      node = element.value;
    } else return null;
  }
  return line;
}
