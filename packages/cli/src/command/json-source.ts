/** Parses JSON with the line numbers of its values, which JSON.parse doesn't give. */

import { evaluate, type MemberNode, parse, type ValueNode } from "@humanwhocodes/momoa";

/** A document, and a lookup from a path of names to a line number (from 1 on), or null. */
export interface JsonSource {
  readonly value: unknown;
  lineOf(path: readonly string[]): number | null;
}

/** The text isn't JSON, or has a name twice. `line` is null if it's unknown. */
export class JsonError extends Error {
  override readonly name = "JsonError";
  readonly line: number | null;

  constructor(message: string, line: number | null) {
    super(message);
    this.line = line;
  }
}

/** Parses a document. Throws `JsonError`. */
export function parseJson(text: string): JsonSource {
  try {
    const body = parsed(text);
    refuseTwins(body);
    return { value: evaluate(body), lineOf: (path) => lineOf(body, path) };
  } catch (error) {
    // The only RangeError here is a stack overflow, from nesting that no real document has.
    if (error instanceof RangeError) throw new JsonError("it's nested too deeply", null);
    throw error;
  }
}

function parsed(text: string): ValueNode {
  try {
    return parse(text).body;
  } catch (error) {
    if (error instanceof RangeError) throw error;
    const { message, line } = error as Error & { line?: number };
    // The position is removed, because the line is reported separately.
    throw new JsonError(message.replace(/ \(\d+:\d+\)$/, ""), line ?? null);
  }
}

/** Refuses duplicate names, of which JSON.parse would silently ignore the first. */
function refuseTwins(node: ValueNode): void {
  if (node.type === "Array") for (const { value } of node.elements) refuseTwins(value);
  if (node.type !== "Object") return;
  const seen = new Set<string>();
  for (const member of node.members) {
    const name = nameOf(member);
    if (seen.has(name)) throw new JsonError(`"${name}" occurs twice: remove one`, member.loc.start.line);
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
