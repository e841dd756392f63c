/** What is said over a socket: a line of JSON for a question, a line for its answer, in the order of the questions. */

import type { EngineStats, Released } from "../core/stats.js";

export type Question = { readonly ask: "stats" } | { readonly ask: "release" };

/** An engine of the thread, by a number that it keeps. */
export type StatsAnswer = { readonly engines: readonly ({ readonly engine: number } & EngineStats)[] };

export type ReleaseAnswer = {
  readonly engines: readonly ({ readonly engine: number } & Pick<EngineStats, "scheme" | "pin"> & Released)[];
};

export type Refusal = { readonly error: string };

/** Calls `line` for each whole line of a stream. Longer ones than anybody means to send are an error. */
export function splitLines(line: (text: string) => void): (text: string) => void {
  const MAX_LENGTH = 1 << 20;
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    if (rest.length > MAX_LENGTH) throw new Error("a line without an end");
    for (const each of lines) line(each);
  };
}
