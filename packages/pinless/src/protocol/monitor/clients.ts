/** The engines' side of the monitor: does in each of a thread's engines what the monitor asks for, and answers. */

import type { ForeignCalls, Standing } from "../foreign-calls.js";
import type { Range } from "../ranges/ranges.js";
import { endReading, settle, unmapHeard } from "./deferred-changes.js";
import { BEGUN, COVERED, DRAINING, drainWord, GIVEN_UP, type MonitorReport, stateOf, TURN } from "./messages.js";

const STANDINGS: Readonly<Record<Standing, number>> = {
  turn: TURN,
  draining: DRAINING,
  begun: BEGUN,
  covered: COVERED,
};

/** Who is told when the monitor ends, or what it has seen. */
export interface MonitorClient {
  readonly calls: ForeignCalls | null;
  lost(): void;
}

export class MonitorClients {
  readonly #clients = new Set<MonitorClient>();
  readonly #drain: Int32Array;
  readonly #reading: Int32Array;
  readonly #answered: () => void;

  /** `drain`: the word that both share. `answered` is called when it was changed. `reading`: see announcements.ts. */
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
      case "settled":
        for (const { calls } of this.#clients) calls?.settled();
        break;
      case "unmapped":
        for (const { calls } of this.#clients) calls?.unmapped(report.gone);
        for (const chunks of report.announced) {
          settle(chunks);
          unmapHeard(chunks);
        }
        for (const { calls } of this.#clients) calls?.settled();
        break;
    }
  }

  /** The monitor has ended, wherever it was. */
  lost(): void {
    for (const client of this.#clients) client.lost();
    // It has let everybody go (announcements.ts). From here on that's announced.
    endReading(this.#reading);
  }

  /** Starts it in every engine, and says how it stands, for as long as the monitor hasn't given up. */
  #start(id: number, ranges: readonly Range[]): void {
    if (!this.#answer(id, DRAINING)) return;
    const all = [...this.#clients].flatMap(({ calls }) => (calls === null ? [] : [calls]));
    let left = all.length + 1;
    const ready = (): void => {
      if (--left === 0) this.#answer(id, BEGUN);
    };
    const standings = all.map((calls) => calls.start(id, ranges, ready));
    const worst = (["covered", "turn"] as const).find((standing) => standings.includes(standing));
    if (worst !== undefined) this.#answer(id, STANDINGS[worst]);
    ready();
  }

  /** False if the monitor doesn't wait for this any more. */
  #answer(id: number, state: number): boolean {
    const word = Atomics.load(this.#drain, 0);
    const waits = word === drainWord(id, stateOf(word)) && stateOf(word) !== GIVEN_UP && stateOf(word) !== COVERED;
    if (!waits || Atomics.compareExchange(this.#drain, 0, word, drainWord(id, state)) !== word) return false;
    this.#answered();
    return true;
  }
}
