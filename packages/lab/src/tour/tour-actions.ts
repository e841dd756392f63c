/** Requests to a machine to look at, and a sentence about what each did. */

import type { CompactionRound, TourMachine } from "./tour-machine.js";

export const TOUR_ACTIONS = ["compact", "page out", "collapse", "fork", "discard"] as const;
export type TourAction = (typeof TOUR_ACTIONS)[number];

export interface ActionReport {
  readonly action: TourAction;
  /** Pages that it was done to, and pages that refused it. */
  readonly done: number;
  readonly refused: number;
  readonly sentence: string;
}

export async function act(machine: TourMachine, action: TourAction): Promise<ActionReport> {
  switch (action) {
    case "compact": {
      const round = machine.compact();
      const refused = refusedIn(round);
      return { action, done: round.moved, refused, sentence: compactionSentence(round) };
    }
    case "page out": {
      const { done, busy, reason } = await machine.pageOut();
      return { action, done, refused: busy, sentence: `Page out: ${withReason(done, "went to swap", busy, reason)}` };
    }
    case "collapse": {
      const { done, busy, reason } = await machine.collapse();
      const sentence = `Collapse: ${withReason(done, "became part of huge pages", busy, reason)}`;
      return { action, done, refused: busy, sentence };
    }
    case "fork": {
      const copied = await machine.fork();
      const why = copied > 0 ? ", because a device may write to them, while the program waits" : "";
      return { action, done: copied, refused: 0, sentence: `Fork: ${pages(copied)} copied at once${why}.` };
    }
    case "discard": {
      const discarded = await machine.discardByOthers();
      const sentence = `Discard: other code of the program gave ${pages(discarded)} of its buffers back (madvise).`;
      return { action, done: discarded, refused: 0, sentence };
    }
  }
}

/** Pages that a round of compaction couldn't move. */
export function refusedIn({ refused: { pinned, leased, inFlight } }: CompactionRound): number {
  return pinned + leased + inFlight;
}

/** Tells what a round of compaction did, and why pages refused. */
export function compactionSentence(round: CompactionRound): string {
  const { pinned, leased, inFlight } = round.refused;
  const why = [
    ...(pinned > 0 ? [`${count(pinned)} are pinned for as long as the program runs`] : []),
    ...(leased > 0 ? [`${count(leased)} are leased, which the engine ends now that it sees the kernel compact`] : []),
    ...(inFlight > 0 ? [`${count(inFlight)} are being read into at this moment`] : []),
  ];
  const refused = why.length === 0 ? "none refused" : `${count(refusedIn(round))} refused: ${why.join("; ")}`;
  return `Compact: ${pages(round.moved)} moved, ${refused}. ${count(round.freeHugePages)} areas of 2 MiB are free.`;
}

function withReason(done: number, what: string, busy: number, reason: string | undefined): string {
  const refused = busy === 0 ? "" : `; ${count(busy)} refused${reason === undefined ? "" : ` (${reason})`}`;
  return `${pages(done)} ${what}${refused}.`;
}

function pages(of: number): string {
  return of === 1 ? "1 page" : `${count(of)} pages`;
}

function count(of: number): string {
  return of.toLocaleString("en-US");
}
