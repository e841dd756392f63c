/** What the monitor says to the engine's thread, and what that does then: as core/monitor-clients.ts does. */

import { type ForeignCalls, settle, unmapHeard, violated } from "pinless/portable";
import { callersIn, type Ground, namesOfThreads } from "./context.js";
import * as S from "./state.js";

/** How a start stands, as in core/monitor-messages.ts: in the DRAIN word, with 8 × callers. */
export const ASKED = 0;
export const TURN = 1;
export const DRAINING = 2;
export const BEGUN = 3;
export const COVERED = 4;
export const GIVEN_UP = 5;

/** Messages: kind + 8 × callers + 64 × callers whose announcements end with it. */
export const START = 0;
export const END = 1;
export const SETTLED = 2;
export const UNMAPPED = 3;

export class Messages {
  readonly #ground: Ground;
  readonly #calls: () => ForeignCalls;
  /** For the starts of the core, by their callers' bits, less 1. */
  readonly readies: readonly (() => void)[];

  constructor(ground: Ground, calls: () => ForeignCalls) {
    this.#ground = ground;
    this.#calls = calls;
    this.readies = Array.from(
      { length: S.startsOf(ground.scenario) },
      (_, start) => () => this.#answer(start + 1, BEGUN),
    );
  }

  post(kind: number, callers = 0, settled = 0): void {
    const { w, at } = this.#ground;
    S.push(w, at.messages, kind + 8 * callers + 64 * settled);
  }

  get startOfNextMessage(): number {
    const { w, at } = this.#ground;
    return (Math.floor(w[at.messages + 1]! / 8) % 8) - 1;
  }

  deliver(): void {
    const ground = this.#ground;
    const { w, at } = ground;
    const message = S.shift(w, at.messages);
    const callers = Math.floor(message / 8) % 8;
    const calls = this.#calls();
    switch (message % 8) {
      case START:
        this.#start(callers);
        break;
      case END:
        calls.end(callers);
        break;
      case SETTLED:
        calls.settled();
        break;
      case UNMAPPED: {
        const pages = ground.scenario.foreign[callersIn(callers)[0]!]!;
        for (let page = pages.first; page <= pages.last; page++) ground.flag(page, S.BURIED);
        calls.unmapped(ground.range(pages));
        for (const f of callersIn(Math.floor(message / 64))) {
          const chunks = { words: ground.table.words, ...ground.chunksOfCall(f) };
          settle(chunks);
          unmapHeard(chunks);
        }
        calls.settled();
        break;
      }
    }
  }

  #start(callers: number): void {
    if (!this.#answer(callers, DRAINING)) return;
    const ground = this.#ground;
    const covered = callersIn(callers).every((f) => this.#isInsideOurs(f));
    const ranges = callersIn(callers).map((f) => ground.range(ground.scenario.foreign[f]!));
    const standing = this.#calls().start(callers, ranges, this.readies[callers - 1]!);
    if (covered !== (standing === "covered"))
      violated(
        "SELF_EVENT",
        `what ${namesOfThreads(callers)} calls is ${covered ? "" : "not "}inside an invalidation of the program's; the start is ${standing}`,
      );
    if (standing === "covered") this.#answer(callers, COVERED);
    else if (standing === "turn") this.#answer(callers, TURN);
  }

  #isInsideOurs(call: number): boolean {
    const ground = this.#ground;
    const { first, last } = ground.chunksOfCall(call);
    return ground.scenario.invalidations.some((_, j) => {
      const chunks = ground.chunksOf(j);
      return ground.invalidation(j, S.I_STATE) === S.BEGUN && chunks.first <= first && last <= chunks.last;
    });
  }

  /** False if the monitor doesn't wait for this any more. */
  #answer(callers: number, stands: number): boolean {
    const { w } = this.#ground;
    const word = w[S.DRAIN]!;
    const waits = Math.floor(word / 8) === callers && word % 8 !== GIVEN_UP && word % 8 !== COVERED;
    if (waits) w[S.DRAIN] = stands + 8 * callers;
    return waits;
  }

  /** What's said of the message that comes next. */
  get nextMessage(): string {
    const { w, at } = this.#ground;
    const message = w[at.messages + 1]!;
    const threads = namesOfThreads(Math.floor(message / 8) % 8);
    const several = threads.includes(" ");
    return [
      `${threads} ${several ? "are" : "is"} about to discard: drain`,
      `the start for ${threads} is over`,
      "what it had announced is over",
      `${threads} has unmapped its pages`,
    ][message % 8]!;
  }
}
