/** What is wrong with a what-if file, in one line; no stack is of use. */

export const WHAT_IF_CODES = {
  ERR_WHAT_IF_UNREADABLE: "the file can't be read",
  ERR_WHAT_IF_UNWRITABLE: "the report can't go where it's to go",
  ERR_WHAT_IF_JSON: "the file isn't JSON",
  ERR_WHAT_IF_WORD: "a word that no what-if file has",
  ERR_WHAT_IF_VALUE: "a value that can't be meant",
  ERR_WHAT_IF_IMPOSSIBLE: "each value could be meant, but no machine has all of them",
} as const;

export class WhatIfError extends Error {
  override readonly name = "WhatIfError";
  readonly code: keyof typeof WHAT_IF_CODES;

  /** `line`: of the file, from 1 on; null: none in particular. */
  constructor(code: keyof typeof WHAT_IF_CODES, message: string, line: number | null) {
    super(line === null ? message : `line ${line}: ${message}`);
    this.code = code;
  }
}
