/** The engines' side of the monitor: passes the monitor's reports to each engine of a thread, and answers for them. */

import type { ForeignCalls, StartState } from "../foreign-calls.js";
import type { Range } from "../ranges/ranges.js";
import { conclude, endReading, unmapHeard } from "./deferred-changes.js";
import { DRAIN, drainWord, type MonitorReport, stateOf } from "./messages.js";

const ANSWERS: Readonly<Record<StartState, number>> = {
  turn: DRAIN.TURN,
  draining: DRAIN.DRAINING,
  begun: DRAIN.BEGUN,
  covered: DRAIN.COVERED,
};

/** A client of the monitor: an engine that gets its reports, or one that only has its leases watched. */
export interface MonitorClient {
  readonly calls: Pick<ForeignCalls, "start" | "isBegun" | "end" | "concluded" | "unmapped"> | null;
  lost(): void;
}

export class MonitorClients {
  readonly #clients = new Set<MonitorClient>();
  readonly #drain: Int32Array;
  readonly #reading: Int32Array;
  readonly #answered: () => void;
  #asking = false;

  /** `drain` and `reading` are the words shared with the monitor; `answered` is called after each change of `drain`. */
  constructor(drain: Int32Array, reading: Int32Array, answered: () => void) {
    this.#drain = drain;
    this.#reading = reading;
    this.#answered = answered;
  }

  add(client: MonitorClient): void {
    this.#clients.add(client);
  }

  delete(client: MonitorClient): void {
    this.#clients.delete(client);
  }

  obey(report: MonitorReport): void {
    switch (report.kind) {
      case "start":
        this.#start(report.id, report.ranges);
        break;
      case "end":
        for (const { calls } of this.#clients) calls?.end(report.id);
        break;
      case "concluded":
        for (const { calls } of this.#clients) calls?.concluded();
        break;
      case "unmapped":
        for (const { calls } of this.#clients) calls?.unmapped(report.gone);
        for (const chunks of report.announced) {
          conclude(chunks);
          unmapHeard(chunks);
        }
        for (const { calls } of this.#clients) calls?.concluded();
        break;
    }
  }

  /** Passes on that the monitor has ended, in whatever state. */
  lost(): void {
    for (const client of this.#clients) client.lost();
    // Its end has let all callers continue (deferred-changes.ts); the clients have just announced every chunk.
    endReading(this.#reading);
  }

  /** Starts an invalidation in every engine and answers with its state, unless the monitor has given the start up. */
  #start(id: number, ranges: readonly Range[]): void {
    if (!this.#answer(id, DRAIN.DRAINING)) return;
    this.#asking = true;
    const states = [...this.#clients].map(({ calls }) => calls?.start(id, ranges, () => this.ready(id)));
    this.#asking = false;
    const worst = (["covered", "turn"] as const).find((state) => states.includes(state));
    if (worst !== undefined) this.#answer(id, ANSWERS[worst]);
    this.ready(id);
  }

  /** Notes that one more engine has begun, and answers BEGUN once all of them have. */
  ready(id: number): void {
    // An engine that begins at once calls this before the others have been asked.
    if (this.#asking) return;
    for (const { calls } of this.#clients) if (calls?.isBegun(id) === false) return;
    this.#answer(id, DRAIN.BEGUN);
  }

  /** Writes an answer into the drain word; returns false if the monitor doesn't wait for this start any more. */
  #answer(id: number, state: number): boolean {
    const word = Atomics.load(this.#drain, 0);
    const waits =
      word === drainWord(id, stateOf(word)) && stateOf(word) !== DRAIN.GIVEN_UP && stateOf(word) !== DRAIN.COVERED;
    if (!waits || Atomics.compareExchange(this.#drain, 0, word, drainWord(id, state)) !== word) return false;
    this.#answered();
    return true;
  }
}
