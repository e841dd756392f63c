/** A trace as it's stepped through: its lanes, its steps, and the step that breaks an invariant. */

/** Another step that led to one. */
export interface Cause {
  readonly step: number;
  readonly name: string;
}

export interface TraceStep {
  /** Name of the actor. */
  readonly lane: string;
  readonly what: string;
  /** Effects, or details, a line each. */
  readonly notes: readonly string[];
  /** Variables with another value than before, a line each. */
  readonly changed: readonly string[];
  readonly causes: readonly Cause[];
  /** Time since the first step; null if the trace has no times. */
  readonly atMs: number | null;
}

export interface Violation {
  readonly step: number;
  readonly invariant: string;
  readonly message: string;
}

export interface ShownTrace {
  readonly title: string;
  readonly lanes: readonly string[];
  readonly steps: readonly TraceStep[];
  readonly violation: Violation | null;
  /** Sentences about what the file lacks, or what isn't shown. */
  readonly remarks: readonly string[];
}

/** Error of a file that isn't a trace that can be shown; its message is for the user. */
export class TraceFileError extends Error {}

export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Strings of a list; none if it isn't a list. */
export function stringsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : [];
}
