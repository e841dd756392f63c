/**
 * History of a machine since it was opened, as a word for a link: `t300.compact.t500.rest`. The same history with the
 * same seed is the same machine.
 */

import { TOUR_ACTIONS, type TourAction } from "../../src/tour/tour-actions.js";

export type Deed = { readonly ms: number } | { readonly action: TourAction } | { readonly reads: boolean };

/** Longest history that a link carries, and the longest time in it. */
const MOST_DEEDS = 200;
const MOST_MS = 60_000;

const wordOf = (action: TourAction): string => action.replace(" ", "-");

/** Adds a deed; times that follow each other become one. */
export function withDeed(history: readonly Deed[], deed: Deed): readonly Deed[] {
  const last = history.at(-1);
  if (last === undefined || !("ms" in last) || !("ms" in deed)) return [...history, deed];
  return [...history.slice(0, -1), { ms: last.ms + deed.ms }];
}

export function historyWord(history: readonly Deed[]): string {
  const words = history.slice(-MOST_DEEDS).map((deed) => {
    if ("ms" in deed) return `t${deed.ms}`;
    if ("action" in deed) return wordOf(deed.action);
    return deed.reads ? "read" : "rest";
  });
  return words.join(".");
}

/** Deeds of a link. Words that it doesn't know end the history. */
export function historyOf(word: string): readonly Deed[] {
  const deeds: Deed[] = [];
  for (const part of word.split(".").slice(0, MOST_DEEDS)) {
    const action = TOUR_ACTIONS.find((each) => wordOf(each) === part);
    const ms = Number(/^t(\d{1,5})$/.exec(part)?.[1] ?? Number.NaN);
    if (action !== undefined) deeds.push({ action });
    else if (part === "read" || part === "rest") deeds.push({ reads: part === "read" });
    else if (ms <= MOST_MS) deeds.push({ ms });
    else break;
  }
  return deeds;
}
