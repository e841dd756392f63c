/** Splits fio's command line: settings of the run, options of jobs in their order, and job files. */

import type { Invocation } from "./job.js";
import { JobError } from "./job-error.js";
import { type Assignment, assignment } from "./job-file.js";
import { optionRow } from "./job-options.js";
import { oneOf, time, whole } from "./option-types.js";

/** Settings of a run, beside its jobs. */
export type Settings = Omit<Invocation, "jobs" | "global" | "sections" | "warnings">;

export interface CommandLine {
  readonly settings: Settings;
  readonly assignments: readonly Assignment[];
  readonly files: readonly string[];
  /** Sections that are run; all if there are none. */
  readonly sections: readonly string[];
  readonly ignoreUnknown: boolean;
}

type Draft = { -readonly [Key in keyof Settings]: Settings[Key] };

const WRITABLE: Readonly<Record<string, (draft: Draft, value: string) => void>> = {
  output: (draft, value) => {
    draft.output = value;
  },
  "output-format": (draft, value) => {
    const format = oneOf("normal", "terse", "minimal", "json", "json+");
    const formats = value.split(",").map((each) => format.read(each.trim(), 1024, "normal"));
    draft.outputFormats = [...new Set(formats.map((each) => (each === "minimal" ? "terse" : each)))];
  },
  "terse-version": (draft, value) => {
    draft.terseVersion = Number(oneOf("2", "3", "4", "5").read(value, 1024, "3")) as Draft["terseVersion"];
  },
  "status-interval": (draft, value) => {
    draft.statusIntervalMs = milliseconds(value);
  },
  eta: (draft, value) => {
    draft.eta = oneOf("auto", "always", "never").read(value, 1024, "auto");
  },
  "eta-interval": (draft, value) => {
    draft.etaIntervalMs = milliseconds(value);
  },
  "eta-newline": (draft, value) => {
    draft.etaNewlineMs = milliseconds(value);
  },
  "max-jobs": (_, value) => {
    whole(1, 4096).read(value, 1024, 1);
  },
  "alloc-size": () => {},
};

const SWITCHES: Readonly<Record<string, (draft: Draft) => void>> = {
  minimal: (draft) => {
    draft.outputFormats = ["terse"];
  },
  "append-terse": (draft) => {
    draft.outputFormats = [...new Set([...draft.outputFormats, "terse" as const])];
  },
  "bandwidth-log": (draft) => {
    draft.bandwidthLog = true;
  },
  readonly: (draft) => {
    draft.readonly = true;
  },
  "allow-mounted-write": (draft) => {
    draft.allowMountedWrite = true;
  },
  "parse-only": (draft) => {
    draft.parseOnly = true;
  },
  showcmd: (draft) => {
    draft.showCommand = true;
  },
  "warnings-fatal": () => {},
};

const INITIAL: Settings = {
  outputFormats: ["normal"],
  terseVersion: 3,
  output: null,
  bandwidthLog: false,
  statusIntervalMs: 0,
  eta: "auto",
  etaIntervalMs: 1000,
  etaNewlineMs: 0,
  readonly: false,
  allowMountedWrite: false,
  parseOnly: false,
  showCommand: false,
};

/** Place of an option of the command line. */
export const COMMAND_LINE = { file: "command line", line: 0 };

/** @param words - What comes after `pinless bench`. */
export function splitCommandLine(words: readonly string[]): CommandLine {
  const settings: Draft = { ...INITIAL };
  const assignments: Assignment[] = [];
  const files: string[] = [];
  const sections: string[] = [];
  let ignoreUnknown = false;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const found = /^--?([a-z][\w-]*)(?:=(.*))?$/is.exec(word);
    if (found === null) {
      files.push(word);
      continue;
    }
    const name = found[1]!;
    const argument = () => {
      const value = found[2] ?? words[++i];
      if (value === undefined || value === "") throw new JobError(`--${name} needs a value`);
      return value;
    };
    if (name === "ignore-unknown") ignoreUnknown = true;
    else if (name === "section") sections.push(argument());
    else if (Object.hasOwn(WRITABLE, name)) WRITABLE[name]!(settings, argument());
    else if (Object.hasOwn(SWITCHES, name)) SWITCHES[name]!(settings);
    else {
      const isBare = found[2] === undefined && optionRow(name)?.bare !== undefined;
      const isUnknown = name !== "name" && optionRow(name) === undefined;
      const text = isBare || (isUnknown && found[2] === undefined) ? name : `${name}=${argument()}`;
      assignments.push(assignment(text, COMMAND_LINE));
    }
  }
  return { settings, assignments, files, sections, ignoreUnknown };
}

function milliseconds(value: string): number {
  return time(1e6, 1e3).read(value, 1024, 0);
}
