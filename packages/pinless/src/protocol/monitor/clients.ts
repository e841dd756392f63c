/** The engines' side of the monitor: does in each of a thread's engines what the monitor asks for, and answers. */

import type { ForeignCalls, Standing } from "../foreign-calls.js";
import type { Range } from "../ranges/ranges.js";
import { conclude, endReading, unmapHeard } from "./deferred-changes.js";
import { DRAIN, drainWord, type MonitorReport, stateOf } from "./messages.js";

const STANDINGS: Readonly<Record<Standing, number>> = {
  turn: DRAIN.TURN,
  draining: DRAIN.DRAINING,
  begun: DRAIN.BEGUN,
  covered: DRAIN.COVERED,
};

/** Client of the monitor: gets its reports, and is told of its end. */
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

  /**
   * `drain`: the word that both share. `answered` is called when it was changed. `reading`: see deferred-changes.ts.
   */
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

  /** The monitor has ended, wherever it was. */
  lost(): void {
    for (const client of this.#clients) client.lost();
    // It has let everybody go (deferred-changes.ts). From here on that's announced.
    endReading(this.#reading);
  }

  /** Starts it in every engine, and says how it stands, for as long as the monitor hasn't given up. */
  #start(id: number, ranges: readonly Range[]): void {
    if (!this.#answer(id, DRAIN.DRAINING)) return;
    this.#asking = true;
    const standings = [...this.#clients].map(({ calls }) => calls?.start(id, ranges, () => this.ready(id)));
    this.#asking = false;
    const worst = (["covered", "turn"] as const).find((standing) => standings.includes(standing));
    if (worst !== undefined) this.#answer(id, STANDINGS[worst]);
    this.ready(id);
  }

  /** One more engine has begun it: once all have, that's the answer. */
  ready(id: number): void {
    // Not before all of them were asked.
    if (this.#asking) return;
    for (const { calls } of this.#clients) if (calls?.isBegun(id) === false) return;
    this.#answer(id, DRAIN.BEGUN);
  }

  /** False if the monitor doesn't wait for this any more. */
  #answer(id: number, state: number): boolean {
    const word = Atomics.load(this.#drain, 0);
    const waits =
      word === drainWord(id, stateOf(word)) && stateOf(word) !== DRAIN.GIVEN_UP && stateOf(word) !== DRAIN.COVERED;
    if (!waits || Atomics.compareExchange(this.#drain, 0, word, drainWord(id, state)) !== word) return false;
    this.#answered();
    return true;
  }
}
