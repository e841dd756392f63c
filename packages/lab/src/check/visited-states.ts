/**
 * The set of visited states, by a hash of 62 bits: an open-addressed table. The chance that any two of 10⁶ states share
 * a hash is 10⁻⁷.
 */

import type { StateRow } from "./state-row.js";

const FIRST_ENTRIES = 1 << 12;
/** Words of an entry, which lie in one cache line: the hash, two bits of which hold flags, and the sleep set. */
const LOW = 0;
const HIGH = 1;
const ASLEEP_LOW = 2;
const ASLEEP_HIGH = 3;
const ENTRY_WORDS = 4;
/** In HIGH. */
const USED = 1;
const ON_PATH = 2;
const FLAGS = USED | ON_PATH;

export class Seen {
  #entries = FIRST_ENTRIES;
  #table = new Int32Array(FIRST_ENTRIES * ENTRY_WORDS);
  count = 0;
  /** The first word of the entry that was last noted. */
  #at = 0;
  #low = 0;
  #high = 0;

  /** The hash of the state that was last noted. */
  get low(): number {
    return this.#low;
  }

  get high(): number {
    return this.#high;
  }

  /**
   * Notes a state: it is new, was met before, or is on the path that leads to itself. `from` is a state, of the given
   * hash, that most of its words are equal to.
   */
  note(row: StateRow, from: StateRow, low: number, high: number): "new" | "met" | "on the path" {
    this.#hash(row, from, low, high);
    this.#at = this.#find(this.#low, this.#high);
    const flags = this.#table[this.#at + HIGH]! & FLAGS;
    if (flags !== 0) return (flags & ON_PATH) === 0 ? "met" : "on the path";
    this.#table[this.#at + LOW] = this.#low;
    this.#table[this.#at + HIGH] = (this.#high & ~FLAGS) | USED | ON_PATH;
    if (++this.count * 2 > this.#entries) this.#grow();
    return "new";
  }

  /**
   * The sleep set of the state that was last noted: actions that weren't tried there, since another order of them was.
   * Two words of bits.
   */
  get asleepLow(): number {
    return this.#table[this.#at + ASLEEP_LOW]!;
  }

  get asleepHigh(): number {
    return this.#table[this.#at + ASLEEP_HIGH]!;
  }

  sleep(low: number, high: number): void {
    this.#table[this.#at + ASLEEP_LOW] = low;
    this.#table[this.#at + ASLEEP_HIGH] = high;
  }

  /** The path goes through the state that was last noted once more. */
  enter(): void {
    this.#table[this.#at + HIGH]! |= ON_PATH;
  }

  /** The path goes back from this state. */
  leave(low: number, high: number): void {
    this.#table[this.#find(low, high) + HIGH]! &= ~ON_PATH;
  }

  #find(low: number, high: number): number {
    const table = this.#table;
    const mask = table.length - 1;
    let at = (low * ENTRY_WORDS) & mask;
    while ((table[at + HIGH]! & USED) !== 0 && (table[at + LOW] !== low || ((table[at + HIGH]! ^ high) & ~FLAGS) !== 0))
      at = (at + ENTRY_WORDS) & mask;
    return at;
  }

  #grow(): void {
    const old = this.#table;
    this.#entries *= 2;
    this.#table = new Int32Array(this.#entries * ENTRY_WORDS);
    for (let from = 0; from < old.length; from += ENTRY_WORDS) {
      if ((old[from + HIGH]! & USED) === 0) continue;
      const at = this.#find(old[from + LOW]!, old[from + HIGH]!);
      for (let i = 0; i < ENTRY_WORDS; i++) this.#table[at + i] = old[from + i]!;
    }
    this.#at = this.#find(this.#low, this.#high);
  }

  /** Adds up hashes of each word and its place, so that only the words that have changed are hashed again. */
  #hash(row: StateRow, from: StateRow, low: number, high: number): void {
    let a = low;
    let b = high;
    const { pairs, words } = row;
    const { pairs: pairsBefore, words: wordsBefore } = from;
    const count = row.pairsToCompare(from);
    for (let pair = 0; pair < count; pair += 2) {
      // Most words are as they were in the state before.
      if (pairs[pair] === pairsBefore[pair] && pairs[pair + 1] === pairsBefore[pair + 1]) continue;
      for (let i = 2 * pair; i < 2 * pair + 4; i++) {
        const word = words[i]!;
        const before = wordsBefore[i]!;
        if (word === before) continue;
        a = (a + mixLow(word, i) - mixLow(before, i)) | 0;
        b = (b + mixHigh(word, i) - mixHigh(before, i)) | 0;
      }
    }
    this.#low = a;
    this.#high = b;
  }
}

/** Hashes of a word and its place: two rounds of a multiplication and a shift, by different constants. */
function mixLow(word: number, location: number): number {
  const h = Math.imul(word ^ Math.imul(location + 1, 0x9e3779b1), 0x85ebca6b);
  const g = Math.imul(h ^ (h >>> 15), 0xc2b2ae35);
  return g ^ (g >>> 16);
}

function mixHigh(word: number, location: number): number {
  const h = Math.imul(word ^ Math.imul(location + 3, 0x27d4eb2f), 0x21f0aaad);
  const g = Math.imul(h ^ (h >>> 16), 0x735a2d97);
  return g ^ (g >>> 15);
}
