/** A row of the table of options, and the forms that rows have. */

import type { GivenOption, JobOptions, PerDirection, SizeRange, SourcePlace } from "./job.js";
import { JobError } from "./job-error.js";
import type { OptionType } from "./option-types.js";
import type { Workload } from "./special-types.js";

/** Options as they're given, before what depends on several of them is worked out. */
export interface RawOptions extends Omit<JobOptions, "blockSize" | "scheme" | keyof Workload> {
  /** Name in the report, if it isn't the section's. */
  readonly title: string | null;
  readonly rw: Workload;
  readonly bs: PerDirection<number>;
  readonly bsRange: PerDirection<SizeRange | null>;
}

/** A job, or the global options, before what depends on several options is worked out. */
export interface Draft {
  readonly name: string;
  readonly place: SourcePlace;
  options: RawOptions;
  /** Names of options that were given, as fio calls them. */
  readonly names: Set<string>;
  readonly given: GivenOption[];
}

/** Fate of an option: it has its effect, it's taken without one, or it's refused. */
export type Fate = "supported" | "accepted" | "refused";

export interface OptionRow {
  /** fio's name, then its aliases. */
  readonly names: readonly string[];
  readonly fate: Fate;
  readonly type: string;
  /** Default as it's shown; empty if there is none. */
  readonly initial: string;
  readonly about: string;
  /** Value of the option without one; undefined if it needs one. */
  readonly bare: string | undefined;
  /** Options that hold before any is given. */
  readonly start: Partial<RawOptions>;
  apply(options: RawOptions, text: string): Partial<RawOptions>;
}

/** A supported option whose value goes to one key. The default is shown as JSON unless `shown` says how. */
export function option<Key extends keyof RawOptions>(
  names: string,
  key: Key,
  type: OptionType<RawOptions[Key]>,
  initial: RawOptions[Key],
  about: string,
  shown = showDefault(initial),
): OptionRow {
  return {
    names: names.split(" "),
    fate: "supported",
    type: type.name,
    initial: shown,
    about,
    bare: type.bare,
    start: { [key]: initial } as Partial<RawOptions>,
    apply: (options, text) =>
      ({ [key]: type.read(text, options.kbBase, options[key]) }) as unknown as Partial<RawOptions>,
  };
}

/** A supported option that sets others. */
export function shorthand(
  names: string,
  { name, bare }: Pick<OptionType<unknown>, "name" | "bare">,
  about: string,
  apply: OptionRow["apply"],
  start: Partial<RawOptions> = {},
): OptionRow {
  return { names: names.split(" "), fate: "supported", type: name, initial: "", about, bare, start, apply };
}

/** Options that are taken and change nothing, for a reason. `only` are the values that this is true of. */
export function accepted(names: string, about: string, only?: RegExp): OptionRow {
  return unlike(names, "accepted", about, (text) => only === undefined || only.test(text));
}

/** Options that can't be honoured, for a reason. Values that ask for nothing are taken. */
export function refused(names: string, about: string): OptionRow {
  return unlike(names, "refused", about, (text) => /^(0|none)$/.test(text));
}

function unlike(names: string, fate: Fate, about: string, isHarmless: (text: string) => boolean): OptionRow {
  const apply = (_: RawOptions, text: string) => {
    if (isHarmless(text)) return {};
    throw new JobError(`this isn't supported: ${about}`);
  };
  return { names: names.split(" "), fate, type: "", initial: "", about, bare: "1", start: {}, apply };
}

function showDefault(value: unknown): string {
  if (value === null || value === "") return "";
  if (typeof value === "boolean") return value ? "1" : "0";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return value.join(":");
  const values = Object.values(value as object);
  return values.every((each) => each === values[0]) ? showDefault(values[0]) : "";
}
