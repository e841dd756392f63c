/** Trace of a run: a digest, equal for equal runs, and optionally the events as lines of text. */

import type { ChromeTrace } from "pinless/portable";

const FNV_PRIME = 0x01000193;

export class Trace {
  /** Lanes of the run, if they're written. */
  readonly lanes: ChromeTrace | null;
  readonly #steps: ((line: string) => void) | null;
  readonly #nowMs: () => number;
  /** Hash of each text. */
  readonly #hashes = new Map<string, number>();
  #low = 0x811c9dc5;
  #high = 0x1b873593;

  constructor(steps: ((line: string) => void) | null, nowMs: () => number, lanes: ChromeTrace | null = null) {
    this.lanes = lanes;
    this.#steps = steps;
    this.#nowMs = nowMs;
  }

  /** Adds an event. `what` contains a % for each of the numbers. */
  note(what: string, numbers: readonly number[]): void {
    this.#mix(this.#hashOf(what));
    this.#mix(Math.round(1000 * this.#nowMs()));
    for (const n of numbers) this.#mix(n | 0);
    this.tell(what, numbers);
  }

  /** Adds a line of text, without changing the digest. */
  tell(what: string, numbers: readonly number[]): void {
    if (this.#steps === null) return;
    let next = 0;
    this.#steps(`${this.#nowMs().toFixed(3).padStart(10)} ms  ${what.replace(/%/g, () => String(numbers[next++]))}`);
  }

  #hashOf(text: string): number {
    let hash = this.#hashes.get(text);
    if (hash === undefined) {
      hash = 0x811c9dc5;
      for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
      this.#hashes.set(text, hash);
    }
    return hash;
  }

  #mix(n: number): void {
    this.#low = Math.imul(this.#low ^ n, FNV_PRIME);
    this.#high = Math.imul(this.#high ^ this.#low ^ (this.#low >>> 15), 0x85ebca6b);
  }

  /** 64 bits in hexadecimal. */
  get digest(): string {
    const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, "0");
    return hex(this.#high) + hex(this.#low);
  }
}
