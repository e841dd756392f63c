/**
 * The pace of everything in a run beside its requests: after a time that is drawn. Events that cost as much as many
 * requests come in storms: a few times close to each other, then not for a while. With a steady rate about as many runs
 * found a step that was left out (populating: 3 of 80, and 9 of 300 in storms; asking leases to go: 25, and 91), and
 * each took two and a half times as long.
 */

import type { Machine } from "../model/machine.js";

/** From the beginning of a storm to that of the next one at the earliest. */
const STORM_REQUESTS = 700;

export interface PaceParts {
  readonly machine: Machine;
  /** Times that each thing happens in a storm. */
  readonly stormTimes: number;
  /** Requests up to now. */
  submitted(): number;
  /** True once all requests were submitted: nothing happens any more. */
  isOver(): boolean;
  /** True while the program is in a call that hasn't returned: it does nothing then. */
  inCall(): boolean;
}

/** Continuations, each due once so many requests were submitted. */
interface Resting {
  readonly requests: number;
  readonly goOn: () => void;
}

export class Pace {
  readonly #parts: PaceParts;
  #resting: Resting[] = [];
  /** The least number of requests that any of them waits for. */
  #restUntil = Number.POSITIVE_INFINITY;

  constructor(parts: PaceParts) {
    this.#parts = parts;
  }

  /** Something that costs little; 0: never. */
  often(name: string, meanMs: number, run: () => void): void {
    this.#again(name, meanMs, run, (soon) => soon());
  }

  /** The same in storms, in which it happens at most so often a request. */
  storms(name: string, meanMs: number, run: () => void, mostPerRequest: number): void {
    let began = 0;
    let times = 0;
    this.#again(name, meanMs, run, (soon) => {
      if (++times === this.#parts.stormTimes) {
        began = Math.max(this.#parts.submitted(), began + STORM_REQUESTS);
        times = 0;
      }
      this.#once(began + Math.floor(times / mostPerRequest), soon);
    });
  }

  #again(name: string, meanMs: number, run: () => void, next: (soon: () => void) => void): void {
    if (meanMs === 0) return;
    const { machine, isOver, inCall } = this.#parts;
    const after = machine.random.stream(`${name} after`);
    const soon = (): void => machine.clock.after(after.upTo(2 * meanMs), again);
    const again = (): void => {
      if (isOver()) return;
      if (inCall()) {
        soon();
        return;
      }
      run();
      next(soon);
    };
    again();
  }

  #once(requests: number, goOn: () => void): void {
    if (this.#parts.submitted() >= requests) {
      goOn();
      return;
    }
    this.#resting.push({ requests, goOn });
    this.#restUntil = Math.min(this.#restUntil, requests);
  }

  /** Requests were submitted: what has rested for long enough goes on. */
  rouse(): void {
    if (this.#parts.submitted() < this.#restUntil) return;
    const resting = this.#resting;
    this.#resting = [];
    this.#restUntil = Number.POSITIVE_INFINITY;
    for (const { requests, goOn } of resting) this.#once(requests, goOn);
  }
}
