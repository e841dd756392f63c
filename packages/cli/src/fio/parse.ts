/** Parses job files and command lines into jobs, in fio's order. */

import { COMMAND_LINE, splitCommandLine } from "./command-line.js";
import { finishJobs } from "./finish-jobs.js";
import type { GivenOption, Invocation, Job, SourcePlace } from "./job.js";
import { JobError, locating, shownPlace } from "./job-error.js";
import { type Assignment, readJobFile, type Section, shorten } from "./job-file.js";
import { DEFAULTS, optionRow, similarOptions } from "./job-options.js";
import type { Draft } from "./option-row.js";

/**
 * Parses what comes after `pinless bench`. Options before the first `--name` are of all jobs, also of those in files.
 * Throws `JobError`.
 */
export function parseInvocation(words: readonly string[]): Invocation {
  const line = splitCommandLine(words);
  const parser = new Parser(line.sections, line.ignoreUnknown);
  for (const section of commandLineSections(line.assignments)) parser.add(section, false);
  line.files.forEach((file, i) => {
    let isNextFile = i > 0;
    for (const section of readJobFile(file)) if (parser.add(section, isNextFile)) isNextFile = false;
  });
  const { drafts, global, sections, warnings } = parser;
  if (drafts.length === 0) throw new JobError("no jobs are given: name a job file, or a job with --name");
  const jobs: readonly Job[] = finishJobs(drafts, line.settings.readonly, warnings);
  return { ...line.settings, jobs, global: global.given, sections, warnings };
}

function commandLineSections(assignments: readonly Assignment[]): readonly Section[] {
  const sections: (Section & { assignments: Assignment[] })[] = [];
  for (const assignment of assignments) {
    if (assignment.name === "name") sections.push({ name: assignment.value!, place: COMMAND_LINE, assignments: [] });
    else {
      if (sections.length === 0) sections.push({ name: "global", place: COMMAND_LINE, assignments: [] });
      sections.at(-1)!.assignments.push(assignment);
    }
  }
  return sections;
}

class Parser {
  readonly drafts: Draft[] = [];
  readonly warnings: string[] = [];
  readonly sections: Invocation["sections"][number][] = [];
  readonly global: Draft = { name: "global", place: COMMAND_LINE, options: DEFAULTS, names: new Set(), given: [] };
  readonly #sections: readonly string[];
  readonly #ignoreUnknown: boolean;

  constructor(sections: readonly string[], ignoreUnknown: boolean) {
    this.#sections = sections;
    this.#ignoreUnknown = ignoreUnknown;
  }

  /** Takes a section; the result says if it's a job that is run. */
  add({ name, place, assignments }: Section, isNextFile: boolean): boolean {
    const isGlobal = name.startsWith("global");
    if (!isGlobal && this.#sections.length > 0 && !this.#sections.includes(name)) return false;
    const draft = isGlobal ? this.global : this.#copy(name, place);
    if (isNextFile && !isGlobal) draft.options = { ...draft.options, stonewall: true };
    const before = draft.given.length;
    // In a file, the size of a k is known before other options are read.
    const first = assignments.filter((each) => each.name === "kb_base" && place.line > 0);
    for (const each of first) this.#apply(draft, each);
    for (const each of assignments) if (!first.includes(each)) this.#apply(draft, each);
    if (!isGlobal) this.drafts.push(draft);
    this.sections.push({ name: isGlobal ? "global" : name, given: draft.given.slice(before) });
    return !isGlobal;
  }

  #copy(name: string, place: SourcePlace): Draft {
    // A name among the global options is no job's.
    return {
      name,
      place,
      options: { ...this.global.options, title: null },
      names: new Set(this.global.names),
      given: [],
    };
  }

  #apply(draft: Draft, { name, value, place }: Assignment): void {
    locating(place, () => {
      const row = optionRow(name);
      if (row === undefined) return this.#unknown(name, place);
      const text = value ?? row.bare;
      if (text === undefined) throw new JobError(`${name} needs a value: ${row.type}`);
      try {
        draft.options = { ...draft.options, ...row.apply(draft.options, text) };
      } catch (error) {
        if (!(error instanceof JobError)) throw error;
        throw new JobError(`${shorten(value === null ? name : `${name}=${value}`)}: ${error.message}`);
      }
      draft.names.add(row.names[0]!);
      draft.given.push({ name: row.names[0]!, value: value ?? "" });
    });
  }

  #unknown(name: string, place: SourcePlace): void {
    const similar = similarOptions(name);
    const hint = similar.length === 0 ? "" : `: did you mean ${similar.join(" or ")}?`;
    const message = `${shorten(name)} isn't an option of a job${hint}`;
    if (!this.#ignoreUnknown) throw new JobError(`${message} (--ignore-unknown goes on without it)`);
    this.warnings.push(`${shownPlace(place)}: ${message}`);
  }
}

/** The command line that means the same as the jobs. */
export function commandLineOf({ sections }: Invocation): string {
  const shown = ({ name, value }: GivenOption) => {
    const quote = name === "description" ? '"' : "";
    return value === "" ? `--${name}` : `--${name}=${quote}${value}${quote}`;
  };
  const words = sections.flatMap(({ name, given }, i) => [
    // What comes first is global without saying so.
    ...(i === 0 && name === "global" ? [] : [`--name=${name}`]),
    ...given.filter((option) => option.name !== "name").map(shown),
  ]);
  return ["pinless bench", ...words].join(" ");
}
