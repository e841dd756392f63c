/** Numbers for values, the same for equal ones, so that a state of words can contain values that aren't words. */

import { StateWords, violated } from "pinless/portable";

/** Words that a value may take. */
const MOST_WORDS = 256;

export class Interned<T extends object> {
  readonly #put: (value: T, to: StateWords) => void;
  /** The words of the value that is looked up. */
  readonly #looked = new StateWords(new Int32Array(MOST_WORDS));
  readonly #words: Int32Array[] = [];
  readonly #values: T[] = [];
  /** By a hash of the words: the last number, and for each number the one before it, or -1. */
  readonly #last = new Map<number, number>();
  readonly #before: number[] = [];

  /** `put`: writes equal words for equal values only. */
  constructor(put: (value: T, to: StateWords) => void) {
    this.#put = put;
  }

  numberOf(value: T): number {
    this.#looked.at = 0;
    this.#put(value, this.#looked);
    const { words, at: count } = this.#looked;
    if (count > MOST_WORDS) violated("STATE", `a value takes ${count} words, where ${MOST_WORDS} fit`);
    const hash = hashOf(words, count);
    const last = this.#last.get(hash) ?? -1;
    for (let known = last; known >= 0; known = this.#before[known]!)
      if (areEqual(this.#words[known]!, words, count)) return known;
    this.#words.push(words.slice(0, count));
    this.#before.push(last);
    this.#last.set(hash, this.#values.length);
    return this.#values.push(value) - 1;
  }

  valueOf(number: number): T {
    return this.#values[number]!;
  }
}

/** Small enough for a key that needs no allocation. */
function hashOf(words: Int32Array, count: number): number {
  let hash = count;
  for (let i = 0; i < count; i++) hash = Math.imul(hash ^ words[i]!, 0x9e3779b1) ^ (hash >>> 15);
  return hash >>> 2;
}

function areEqual(words: Int32Array, others: Int32Array, count: number): boolean {
  if (words.length !== count) return false;
  for (let i = 0; i < count; i++) if (words[i] !== others[i]) return false;
  return true;
}
