/** Copies and compares the data of open files: many blocks in flight, in any order, on memory of an arena. */

import type { Arena, Engine, File } from "pinless";
import { alignUp, PAGE_BYTES } from "pinless/internal";

/** Size of a transfer, and the number of them in flight. */
export const BLOCK_BYTES = 1 << 20;
const BLOCKS = 8;

/** A part of a file, from and to multiples of a page, except for the file's end. */
interface Part {
  readonly position: number;
  readonly bytes: number;
}

export class FileData {
  readonly #arena: Arena;
  readonly #spare: Uint8Array[];
  readonly #waiting: ((block: Uint8Array) => void)[] = [];
  readonly #signal: AbortSignal;
  readonly #copied: (bytes: number) => void;

  private constructor(arena: Arena, signal: AbortSignal, copied: (bytes: number) => void) {
    this.#arena = arena;
    this.#spare = Array.from({ length: BLOCKS }, () => arena.alloc(BLOCK_BYTES));
    this.#signal = signal;
    this.#copied = copied;
  }

  /** `copied` is called with the bytes of each block that was copied. */
  static async open(engine: Engine, signal: AbortSignal, copied: (bytes: number) => void): Promise<FileData> {
    return new FileData(await engine.arena({ bytes: BLOCKS * BLOCK_BYTES }), signal, copied);
  }

  close(): Promise<void> {
    return this.#arena.close();
  }

  /** Copies the parts that have data. The copy's size becomes a multiple of a page: the caller truncates it. */
  async copy(from: File, to: File, parts: readonly Part[]): Promise<void> {
    await this.#each(parts, 1, async ({ position, bytes }, [block]) => {
      const part = block!.subarray(0, alignUp(bytes, PAGE_BYTES));
      const { bytesRead } = await from.read(part, { position });
      const whole = alignUp(bytesRead, PAGE_BYTES);
      part.fill(0, bytesRead, whole);
      if (whole > 0) await to.write(part, 0, whole, position);
      this.#copied(bytesRead);
    });
  }

  /** True if both files have the same bytes in the parts. */
  async isSame(one: File, other: File, parts: readonly Part[]): Promise<boolean> {
    let isSame = true;
    await this.#each(parts, 2, async ({ position, bytes }, blocks) => {
      if (!isSame) return;
      const read = async (file: File, block: Uint8Array): Promise<Uint8Array> => {
        const { bytesRead } = await file.read(block.subarray(0, alignUp(bytes, PAGE_BYTES)), { position });
        return block.subarray(0, Math.min(bytesRead, bytes));
      };
      const [a, b] = await Promise.all([read(one, blocks[0]!), read(other, blocks[1]!)]);
      if (Buffer.compare(a, b) !== 0) isSame = false;
    });
    return isSame;
  }

  /** Handles all blocks of the parts, as many at a time as there are sets of `count` blocks of memory. */
  async #each(
    parts: readonly Part[],
    count: number,
    work: (part: Part, blocks: readonly Uint8Array[]) => Promise<void>,
  ): Promise<void> {
    const blocks = blocksOf(parts);
    let hasFailed = false;
    const lane = async (): Promise<void> => {
      for (const part of blocks) {
        if (hasFailed) return;
        this.#signal.throwIfAborted();
        // Memory is taken for one block at a time, so that files that are copied together share it.
        const taken = await this.#take(count);
        try {
          await work(part, taken);
        } catch (error) {
          hasFailed = true;
          throw error;
        } finally {
          for (const block of taken) this.#give(block);
        }
      }
    };
    // A loop that leaves an iterator closes it for the others: they share one that can't be closed.
    const lanes = await Promise.allSettled(Array.from({ length: BLOCKS / count }, lane));
    for (const each of lanes) if (each.status === "rejected") throw each.reason;
  }

  async #take(count: number): Promise<readonly Uint8Array[]> {
    // All or nothing: two that held one block each would wait for each other's.
    while (this.#spare.length < count) await new Promise<unknown>((resolve) => this.#waiting.push(resolve));
    return this.#spare.splice(0, count);
  }

  #give(block: Uint8Array): void {
    this.#spare.push(block);
    for (const resolve of this.#waiting.splice(0)) resolve(block);
  }
}

function blocksOf(parts: readonly Part[]): Iterable<Part> {
  const all = (function* (): Generator<Part> {
    for (const { position, bytes } of parts)
      for (let done = 0; done < bytes; done += BLOCK_BYTES)
        yield { position: position + done, bytes: Math.min(BLOCK_BYTES, bytes - done) };
  })();
  return { [Symbol.iterator]: () => ({ next: () => all.next() }) };
}

/** Finds the parts of a file that have data; null if it can only be read from its beginning to its end. */
export async function dataOf(file: File, size: number): Promise<readonly Part[] | null> {
  // Files of /proc have size 0, whatever they hold.
  if (size === 0) return null;
  const parts: Part[] = [];
  try {
    for await (const { start, end } of file.dataRanges({ end: size - 1 })) {
      const position = Math.floor(start / PAGE_BYTES) * PAGE_BYTES;
      const to = Math.min(size, alignUp(end + 1, PAGE_BYTES));
      if (to > position) parts.push({ position, bytes: to - position });
    }
    return parts;
  } catch (error) {
    if (["EINVAL", "ESPIPE", "ENXIO"].includes((error as NodeJS.ErrnoException).code ?? "")) return null;
    throw error;
  }
}
