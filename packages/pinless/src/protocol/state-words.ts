/** What an engine knows beyond its flat tables, as whole numbers: for whoever explores it and puts it back to a state it was in. */

export class StateWords {
  readonly words: Int32Array;
  /** The next word. */
  at = 0;

  constructor(words: Int32Array) {
    this.words = words;
  }

  put(value: number): void {
    this.words[this.at++] = value;
  }

  take(): number {
    return this.words[this.at++]!;
  }

  /** A list of at most `room` numbers, always in as many words. */
  putList(list: readonly number[], room: number): void {
    const { words, at } = this;
    words[at] = list.length;
    for (let i = 0; i < room; i++) words[at + 1 + i] = i < list.length ? list[i]! : 0;
    this.at = at + 1 + room;
  }

  takeList(into: number[], room: number): void {
    const length = this.words[this.at++]!;
    // To set a length is a call into the runtime, and this is done for every list of every state.
    while (into.length > length) into.pop();
    for (let i = 0; i < length; i++) into[i] = this.words[this.at + i]!;
    this.at += room;
  }
}
