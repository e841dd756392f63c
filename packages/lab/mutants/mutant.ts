/**
 * A mutant: a copy of the sources with one protective step left out, or done wrong. It's told as edits of the
 * TypeScript by structure, so that what moves, or is formatted otherwise, leaves it as it is; what changes makes `edit`
 * say that it fits no more.
 */

/** A piece of a file, and the text that replaces it. */
export interface Edit {
  /** The declaration it's in: `function`, `CONSTANT`, `Class.method`, `Class.#method`, `TABLE.row.entry`. */
  readonly within: string;
  /**
   * The text of the one node (a statement, an expression, a `case`) that is replaced; white space and trailing commas
   * don't count. Without it the declaration's own value, or its body, is.
   */
  readonly node?: string;
  /** TypeScript. Without it the node, which is a statement, is left out. */
  readonly to?: string;
}

export interface Mutant extends Edit {
  readonly name: string;
  readonly leavesOut: string;
  /** The file of packages/ that is edited. */
  readonly file: string;
  /** A second edit of the same file. */
  readonly also?: Edit;
  /** The scenario that shows it. */
  readonly shows: string;
}

export const GATE = "pinless/src/protocol/gate.ts";
export const GATE_BITS = "pinless/src/protocol/gate-bits.ts";
export const DISPATCHER = "pinless/src/protocol/dispatcher.ts";
export const TURNS = "pinless/src/protocol/turns.ts";
export const LEASES = "pinless/src/protocol/leases.ts";
const EVENTS = "pinless/src/protocol/events.ts";

/** One entry of the table of events is another. */
export function row(event: string, entry: string, to: string, leavesOut: string, shows = "pairs"): Mutant {
  const where = shows === "pairs" ? "" : "notifier-";
  const name = `${where}row-${event}-${entry}`.toLowerCase().replaceAll("_", "-");
  return { name, leavesOut, file: EVENTS, within: `CONCERNS.${event}.${entry}`, to, shows };
}
