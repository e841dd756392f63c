/** The memory of all responses together. A response that finds none waits, first come, first served. */

export class BlockPool {
  readonly #free: Uint8Array[];
  readonly #waiting = new Set<(block: Uint8Array) => void>();
  readonly size: number;

  constructor(blocks: readonly Uint8Array[]) {
    this.#free = [...blocks];
    this.size = blocks.length;
  }

  get used(): number {
    return this.size - this.#free.length;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Takes a block, or waits for one until `signal` is aborted. */
  async take(signal: AbortSignal): Promise<Uint8Array> {
    signal.throwIfAborted();
    const block = this.#free.pop();
    if (block !== undefined) return block;
    return new Promise((resolve, reject) => {
      const left = (): void => {
        this.#waiting.delete(given);
        reject(signal.reason);
      };
      const given = (freed: Uint8Array): void => {
        signal.removeEventListener("abort", left);
        resolve(freed);
      };
      this.#waiting.add(given);
      signal.addEventListener("abort", left, { once: true });
    });
  }

  /** Takes a block to read ahead, unless half of them are in use: then each response gets along with one. */
  takeSpare(): Uint8Array | null {
    return this.#free.length > this.size / 2 ? this.#free.pop()! : null;
  }

  give(block: Uint8Array): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#free.push(block);
      return;
    }
    this.#waiting.delete(next);
    next(block);
  }
}
