/** Sets of blocks that were used: a bit for each, and above each 32 of them a bit that says that all are set. */

/** Most blocks of a map: 256 MiB of bits. */
export const MAX_MAPPED_BLOCKS = 2 ** 31;

export class BlockMap {
  readonly #blocks: number;
  /** From the bits of blocks up to a level of one word. */
  readonly #levels: readonly Uint32Array[];

  constructor(blocks: number) {
    this.#blocks = blocks;
    const levels: Uint32Array[] = [];
    for (let bits = Math.max(1, blocks); ; bits = Math.ceil(bits / 32)) {
      levels.push(new Uint32Array(Math.ceil(bits / 32)));
      if (bits <= 32) break;
    }
    this.#levels = levels;
    this.clear();
  }

  clear(): void {
    let bits = this.#blocks;
    for (const level of this.#levels) {
      level.fill(0);
      // Bits past the end are set, so that nothing looks for free ones there.
      if (bits % 32 !== 0) level[level.length - 1] = (0xffffffff << (bits % 32)) >>> 0;
      bits = level.length;
    }
  }

  has(block: number): boolean {
    return block >= this.#blocks || ((this.#levels[0]![block >>> 5]! >>> (block & 31)) & 1) === 1;
  }

  /** Adds blocks from `first` on, up to `count` or to the first one that's there already; gives their number. */
  add(first: number, count: number): number {
    const end = Math.min(first + count, this.#blocks);
    let block = first;
    while (block < end && !this.has(block)) this.#set(block++);
    // A part of a block at the end counts, though nothing is drawn from there.
    return block === this.#blocks ? count : block - first;
  }

  #set(block: number): void {
    let index = block;
    for (const level of this.#levels) {
      const word = index >>> 5;
      level[word] = (level[word]! | (1 << (index & 31))) >>> 0;
      if (level[word] !== 0xffffffff) return;
      index = word;
    }
  }

  /** The first free block from `from` on, or from the beginning if there's none; -1 if none is free. */
  nextFree(from: number): number {
    const after = this.#search(from);
    return after >= 0 || from === 0 ? after : this.#search(0);
  }

  #search(from: number): number {
    let index = from;
    for (let height = 0; height < this.#levels.length; height++) {
      const level = this.#levels[height]!;
      const word = index >>> 5;
      if (word >= level.length) return -1;
      const free = (~level[word]! & (0xffffffff << (index & 31))) >>> 0;
      if (free !== 0) return this.#descend(height, word * 32 + lowestBit(free));
      index = word + 1;
    }
    return -1;
  }

  #descend(height: number, index: number): number {
    let at = index;
    for (let below = height - 1; below >= 0; below--) at = at * 32 + lowestBit(~this.#levels[below]![at]! >>> 0);
    return at;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
