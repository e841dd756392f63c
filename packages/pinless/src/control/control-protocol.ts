/** What is said over a socket: a line of JSON for a question, a line for its answer, in the order of the questions. */

import type { EngineStats, Released } from "../ports/stats.js";

export type Question = { readonly ask: "stats" } | { readonly ask: "release" };

/** An engine of the thread, by a number that it keeps. */
export type StatsAnswer = { readonly engines: readonly ({ readonly engine: number } & EngineStats)[] };

export type ReleaseAnswer = {
  readonly engines: readonly ({ readonly engine: number } & Pick<EngineStats, "scheme" | "pin"> & Released)[];
};

export type Refusal = { readonly error: string };

/** Calls `line` for each whole line of a stream. Longer ones than anybody means to send are an error. */
export function splitLines(maxLength: number, line: (text: string) => void): (text: string) => void {
  /** Of a line whose end hasn't come: joined only then, or whoever sends it in many pieces would have it copied as often. */
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
