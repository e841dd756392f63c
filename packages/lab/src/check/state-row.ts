/** A row of words that holds a whole state. */

export class StateRow {
  readonly words: Int32Array;
  /** The same, two words at a time: to compare two rows like this takes half as long. */
  readonly pairs: BigInt64Array;
  /** Number of the engine's state, which only its own steps change. Rows of one number have equal words for it. */
  engineState = 0;
  /** Number of words before those that only the engine changes. */
  readonly #shared: number;

  /**
   * Room for at least `count` words, and for a multiple of four. Those from `shared` on change only together with
   * `engineState`.
   */
  constructor(count: number, shared = count) {
    this.pairs = new BigInt64Array(2 * Math.ceil(count / 4));
    this.words = new Int32Array(this.pairs.buffer);
    this.#shared = shared;
  }

  /** Number of pairs in which this row and another may differ. */
  pairsToCompare({ engineState }: StateRow): number {
    return engineState === this.engineState ? Math.ceil(this.#shared / 2) : this.pairs.length;
  }

  set(from: StateRow): void {
    this.words.set(from.words);
    this.engineState = from.engineState;
  }

  copy(): StateRow {
    const copy = new StateRow(this.words.length, this.#shared);
    copy.set(this);
    return copy;
  }
}
