/** A row of words that holds a whole state. */

export class StateRow {
  readonly words: Int32Array;
  /** The same, two words at a time: to compare two rows like this takes half as long. */
  readonly pairs: BigInt64Array;

  /** Room for at least `count` words. */
  constructor(count: number) {
    this.pairs = new BigInt64Array(Math.ceil(count / 2));
    this.words = new Int32Array(this.pairs.buffer);
  }

  set(from: StateRow): void {
    this.words.set(from.words);
  }

  copy(): StateRow {
    const copy = new StateRow(this.words.length);
    copy.set(this);
    return copy;
  }
}
