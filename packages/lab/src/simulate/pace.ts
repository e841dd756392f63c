/**
 * Pace of all events of a run beside its requests: random times between them. Events that cost as much as many requests
 * come in storms: several close to each other, then none for a while. With a steady rate about the same share of runs
 * found a step that was left out (populating: 3 of 80, against 9 of 300 in storms; asking leases to go: 25, against
 * 91), but each run took two and a half times as long.
 */

import type { Machine } from "../model/machine.js";

/** Minimum number of requests from the beginning of a storm to that of the next one. */
const STORM_REQUESTS = 700;

export interface PaceParts {
  readonly machine: Machine;
  /** Number of times that each event occurs in a storm. */
  readonly stormTimes: number;
  /** Number of requests submitted so far. */
  submitted(): number;
  /** True once all requests were submitted: then no more events occur. */
  isOver(): boolean;
  /** True while the program is in a call that hasn't returned, so that it can't do anything else. */
  inCall(): boolean;
}

/** A storm's continuation, which is due once a number of requests were submitted. */
interface Resting {
  readonly requests: number;
  readonly goOn: () => void;
}

export class Pace {
  readonly #parts: PaceParts;
  #resting: Resting[] = [];
  /** Lowest number of requests that one of them waits for. */
  #restUntil = Number.POSITIVE_INFINITY;

  constructor(parts: PaceParts) {
    this.#parts = parts;
  }

  /** Repeats a cheap event at random times with this mean; never if it's 0. */
  often(name: string, meanMs: number, run: () => void): void {
    this.#again(name, meanMs, run, (soon) => soon());
  }

  /** Repeats an expensive event in storms, at most `mostPerRequest` times for each request. */
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

  /** Continues events that are due after requests were submitted. */
  rouse(): void {
    if (this.#parts.submitted() < this.#restUntil) return;
    const resting = this.#resting;
    this.#resting = [];
    this.#restUntil = Number.POSITIVE_INFINITY;
    for (const { requests, goOn } of resting) this.#once(requests, goOn);
  }
}
