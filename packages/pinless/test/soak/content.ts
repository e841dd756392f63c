// Contents of the soak's files: cells of 64 bytes, each with its own position and version.

export const CELL_BYTES = 64;
const CELL_WORDS = CELL_BYTES / 4;

/** Wrong bytes. Zeros may be a discard's; no operation explains other bytes. */
export interface Difference {
  readonly onlyZeros: boolean;
  readonly text: string;
}

export class Content {
  readonly #versions: Uint32Array;
  /** Cells whose last write a discard came under: what of them was thrown away before is zeros. */
  readonly #maybeZeros = new Set<number>();

  constructor(cells: number) {
    this.#versions = new Uint32Array(cells);
  }

  get bytes(): number {
    return this.#versions.length * CELL_BYTES;
  }

  /** The bytes [from, to). */
  expected(from: number, to: number): Buffer {
    const first = Math.floor(from / CELL_BYTES);
    return this.#cells(first, Math.ceil(to / CELL_BYTES), 0).subarray(
      from - first * CELL_BYTES,
      to - first * CELL_BYTES,
    );
  }

  /** The next version of some cells. `written` once the file has it. */
  next(first: number, end: number): Buffer {
    return this.#cells(first, end, 1);
  }

  written(first: number, end: number, { certain }: { certain: boolean }): void {
    for (let cell = first; cell < end; cell++) {
      this.#versions[cell]!++;
      if (certain) this.#maybeZeros.delete(cell);
      else this.#maybeZeros.add(cell);
    }
  }

  /** Looks at bytes that were read from `from` on. Null: all are right. */
  difference(from: number, got: Uint8Array): Difference | null {
    const want = this.expected(from, from + got.byteLength);
    if (want.equals(got)) return null;
    let zeros: Difference | null = null;
    for (let i = 0; i < got.byteLength; i++) {
      if (got[i] === want[i]) continue;
      const cell = Math.floor((from + i) / CELL_BYTES);
      if (got[i] === 0 && this.#maybeZeros.has(cell)) continue;
      const seen = Buffer.from(got.subarray(i, i + 16)).toString("hex");
      const wanted = want.subarray(i, i + 16).toString("hex");
      const where = `byte ${i} of ${got.byteLength} from ${from} on, cell ${cell} in version ${this.#versions[cell]}`;
      const text = `${where}: ${seen} for ${wanted}`;
      if (got[i] !== 0) return { onlyZeros: false, text };
      zeros ??= { onlyZeros: true, text };
    }
    return zeros;
  }

  #cells(first: number, end: number, ahead: number): Buffer {
    const words = new Uint32Array((end - first) * CELL_WORDS);
    for (let cell = first, at = 0; cell < end; cell++) {
      const version = this.#versions[cell]! + ahead;
      words[at++] = cell;
      words[at++] = version;
      // Never zero: what a discard left shows.
      for (let i = 2; i < CELL_WORDS; i++)
        words[at++] = (Math.imul(cell * CELL_WORDS + i, 0x9e3779b1) ^ Math.imul(version + 1, 0x85ebca6b)) | 0x01010101;
    }
    return Buffer.from(words.buffer);
  }
}
