/** Protocol of the control socket: a line of JSON for each question, answered in order by a line each. */

import type { EngineStats, Released } from "../ports/stats.js";

export type Question = { readonly ask: "stats" } | { readonly ask: "release" };

/** The engines of a thread, each with a number that stays the same. */
export type StatsAnswer = { readonly engines: readonly ({ readonly engine: number } & EngineStats)[] };

export type ReleaseAnswer = {
  readonly engines: readonly ({ readonly engine: number } & Pick<EngineStats, "scheme" | "pin"> & Released)[];
};

export type Refusal = { readonly error: string };

/** Calls `line` for each complete line of a stream. A line longer than `maxLength` is an error. */
export function splitLines(maxLength: number, line: (text: string) => void): (text: string) => void {
  /**
   * Parts of an incomplete line. They are joined once its end has come, so that many small parts aren't copied again
   * and again.
   */
  let pieces: string[] = [];
  let length = 0;
  return (text) => {
    const [first = "", ...rest] = text.split("\n");
    pieces.push(first);
    length += first.length;
    for (const begun of rest) {
      if (length > maxLength) break;
      line(pieces.join(""));
      pieces = [begun];
      length = begun.length;
    }
    if (length > maxLength) throw new Error(`a line of more than ${maxLength} characters`);
  };
}
