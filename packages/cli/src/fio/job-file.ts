/** Reads fio's job files: sections in brackets, an option a line, comments, and other files that are included. */

import { existsSync, realpathSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { UsageError } from "../command/failures.js";
import { readInputFile } from "../command/input-file.js";
import type { SourcePlace } from "./job.js";
import { JobError, locating } from "./job-error.js";
import { evaluate } from "./quantities.js";

const MAX_BYTES = 1 << 20;
const MAX_SHOWN = 60;

/** An option of a job; a bare one has no value. */
export interface Assignment {
  readonly name: string;
  readonly value: string | null;
  readonly place: SourcePlace;
}

/** A section of a file; one called `global` holds for the jobs after it. */
export interface Section {
  readonly name: string;
  readonly place: SourcePlace;
  readonly assignments: readonly Assignment[];
}

/** The sections of a file, in order. Throws `JobError`. */
export function readJobFile(file: string): readonly Section[] {
  const sections: (Section & { readonly assignments: Assignment[] })[] = [];
  for (const { text, place } of lines(file, [], null)) {
    const section = /^\[(.*)\]$/.exec(text);
    if (section !== null) sections.push({ name: section[1]!, place, assignments: [] });
    else {
      const last = sections.at(-1);
      if (last === undefined) throw located(place, `"${shorten(text)}" comes before the first [section]`);
      last.assignments.push(locating(place, () => assignment(text, place)));
    }
  }
  if (sections.length === 0) throw new JobError(`${file} has no [section]: there's no job in it`);
  return sections;
}

function located(place: SourcePlace, message: string): JobError {
  return new JobError(`${place.file}:${place.line}: ${message}`);
}

interface Line {
  readonly text: string;
  readonly place: SourcePlace;
}

/** Lines without comments, those of included files in place of the lines that include them. */
function* lines(file: string, including: readonly string[], from: SourcePlace | null): Generator<Line> {
  const path = from === null ? file : locating(from, () => includedPath(file, from.file));
  const real = existsSync(path) ? realpathSync(path) : path;
  if (from !== null && including.includes(real)) throw located(from, `${file} includes itself`);
  let number = 0;
  for (const raw of readText(path, from).split("\n")) {
    const place = { file: path, line: ++number };
    const text = raw.replace(/[;#].*$/, "").trim();
    if (text === "") continue;
    const included = /^include\s+(.+)$/.exec(text);
    if (included !== null) yield* lines(included[1]!, [...including, real], place);
    else if (from !== null && text.startsWith("[")) throw located(place, "an included file has no sections");
    else yield { text, place };
  }
}

function readText(path: string, from: SourcePlace | null): string {
  try {
    return readInputFile(path === "-" ? "/dev/stdin" : path, MAX_BYTES);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw from === null ? new JobError(error.message) : located(from, error.message);
  }
}

/** Path of an included file: as it's written, or else from the directory of the file that includes it. */
function includedPath(file: string, includer: string): string {
  const beside = join(dirname(includer), file);
  return !existsSync(file) && existsSync(beside) ? beside : file;
}

/** Parses `name=value` or `name`, with variables of the environment and of the machine replaced. */
export function assignment(text: string, place: SourcePlace): Assignment {
  const equals = text.indexOf("=");
  const name = (equals < 0 ? text : text.slice(0, equals)).trim();
  if (!/^[\w-]+$/.test(name)) throw new JobError(`"${shorten(text)}" isn't an option: name=value is needed`);
  return { name, value: equals < 0 ? null : substituted(text.slice(equals + 1).trim()), place };
}

/** Replaces `${VARIABLE}`, and `$pagesize`, `$mb_memory` and `$ncpus`, which may be calculated with. */
function substituted(value: string): string {
  const filled = value.replace(/\$\{(\w+)\}/g, (_, variable: string) => {
    const set = process.env[variable];
    if (set === undefined) throw new JobError(`the environment has no variable ${variable}`);
    return set;
  });
  const machine = filled.replace(/\$(pagesize|mb_memory|ncpus)/g, (_, name: keyof typeof MACHINE) =>
    String(MACHINE[name]()),
  );
  return machine !== filled && /[-+*/]/.test(machine) ? String(evaluate(machine)) : machine;
}

const MACHINE = {
  pagesize: () => 4096,
  mb_memory: () => Math.floor(totalmem() / 2 ** 20),
  ncpus: () => availableParallelism(),
};

export function shorten(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
