/**
 * Writes what a stream gives in blocks behind it, several at a time. A write is accepted once its bytes are in memory
 * here. While nothing is in flight, they are written at once; otherwise they wait until their block is full, or until
 * nothing is in flight any more.
 */

import { alignDown, alignUp } from "../protocol/ranges/ranges.js";
import { segmentOf } from "../protocol/segment.js";
import type { Blocks } from "./block-options.js";
import type { StagingMemory } from "./staging-memory.js";

/** The file as its write-behind sees it. */
export interface BlockTarget {
  readonly memory: StagingMemory;
  /** Alignment of offsets and lengths. */
  readonly alignment: number;
  /** Writes all of a view, as `File.write`. */
  write(view: Uint8Array, position: number): Promise<number>;
  /** Notes that there is no memory for blocks. */
  degraded(error: Error): void;
}

/** A block that is being filled. Its bytes have the same remainder by the alignment in memory as in the file. */
interface Filling {
  readonly memory: Uint8Array;
  /** Offsets in the memory: of the first byte, and after the last. */
  readonly from: number;
  to: number;
  /** Position in the file of the memory's beginning. */
  readonly position: number;
}

export class WriteBehind {
  readonly #target: BlockTarget;
  readonly #blockBytes: number;
  readonly #depth: number;
  readonly #spare: Uint8Array[] = [];
  readonly #inFlight = new Set<Promise<void>>();
  #filling: Filling | null = null;
  /** Position at which the writer would go on. */
  #expected = -1;
  #failure: Error | null = null;
  #hasMemory = true;
  #turns: Promise<unknown> = Promise.resolve();
  /** Number of the writes whose callers wait until they are written. */
  awaited = 0;
  /** Called with the first error of a block. */
  failed: (error: Error) => void = () => {};

  /** `depth` blocks, at least one, are written while another one is filled. */
  constructor(target: BlockTarget, { blockBytes, depth }: Blocks) {
    this.#target = target;
    this.#blockBytes = blockBytes;
    this.#depth = depth;
  }

  /** Takes the bytes for a position, or rejects with the error of an earlier block. Resolves to their number. */
  write(views: readonly Uint8Array[], position: number): Promise<number> {
    return this.#inTurn(() => this.#write(views, position));
  }

  /** Resolves once all bytes are written; rejects if they couldn't be. */
  drain(): Promise<void> {
    return this.#inTurn(() => this.#drain());
  }

  /** Drains, and gives all memory back, also after an error. */
  end(): Promise<void> {
    return this.#inTurn(async () => {
      this.#hasMemory = false;
      try {
        await this.#drain();
      } finally {
        await Promise.all(this.#spare.splice(0).map((memory) => this.#target.memory.release(memory)));
      }
    });
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(run);
    this.#turns = turn.catch(() => {});
    return turn;
  }

  async #write(views: readonly Uint8Array[], position: number): Promise<number> {
    let at = position;
    for (const view of views) {
      // A first write isn't sequential. Memory of an arena may be gone: only a request may touch it.
      const isBehind = at === this.#expected && this.#hasMemory && segmentOf(view.buffer) === null;
      if (isBehind) await this.#take(view, at);
      else {
        await this.#drain();
        await this.#target.write(view, at);
      }
      at += view.byteLength;
      this.#expected = at;
    }
    if (this.awaited > 0) await this.#drain();
    else if (this.#inFlight.size === 0) await this.#flush();
    return at - position;
  }

  async #take(view: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < view.byteLength; ) {
      this.#filling ??= await this.#open(position + done);
      const filling = this.#filling;
      if (filling === null) {
        await this.#drain();
        await this.#target.write(view.subarray(done), position + done);
        return;
      }
      const part = view.subarray(done, done + filling.memory.byteLength - filling.to);
      filling.memory.set(part, filling.to);
      filling.to += part.byteLength;
      done += part.byteLength;
      if (filling.to === filling.memory.byteLength) this.#issue(filling, filling.to);
    }
  }

  /** Opens a block at a position, once there is room for one; null if there is no memory. */
  async #open(position: number): Promise<Filling | null> {
    while (this.#inFlight.size > this.#depth) await Promise.race(this.#inFlight);
    this.#check();
    try {
      const memory = this.#spare.pop() ?? (await this.#target.memory.acquire(this.#blockBytes));
      const start = alignDown(position, this.#target.alignment);
      return { memory, from: position - start, to: position - start, position: start };
    } catch (error) {
      this.#target.degraded(error as Error);
      this.#hasMemory = false;
      return null;
    }
  }

  /** Issues the whole blocks that are there, and what is left of a block only if it's alone. */
  async #flush(): Promise<void> {
    const filling = this.#filling;
    if (filling === null || this.#inFlight.size > 0 || this.#failure !== null) return;
    const { memory, from, to, position } = filling;
    const whole = alignDown(to, this.#target.alignment);
    if (whole <= from || whole === to) return this.#issue(filling, to);
    this.#issue(filling, whole);
    const next = await this.#open(position + whole);
    // This has room for one more: nothing else was in flight.
    if (next === null) return void (await this.#target.write(memory.slice(whole, to), position + whole));
    next.memory.set(memory.subarray(whole, to));
    next.to = to - whole;
    this.#filling = next;
  }

  #issue(filling: Filling, to: number): void {
    this.#filling = null;
    const written = this.#writeBlock(filling, to).then(
      () => {},
      (error) => this.#fail(error),
    );
    const ended = written.then(() => {
      this.#spare.push(filling.memory);
      this.#inFlight.delete(ended);
      // What has come meanwhile isn't kept back.
      if (this.#inFlight.size === 0) this.#inTurn(() => this.#flush()).catch((error) => this.#fail(error));
    });
    this.#inFlight.add(ended);
  }

  #fail(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.failed(error);
  }

  /** Writes a block. Its unaligned ends go through the page cache, by writes of their own. */
  async #writeBlock({ memory, from, position }: Filling, to: number): Promise<void> {
    const { alignment } = this.#target;
    const first = Math.min(alignUp(from, alignment), to);
    const last = Math.max(alignDown(to, alignment), first);
    for (const [start, end] of [
      [from, first],
      [first, last],
      [last, to],
    ] as const)
      if (start < end) await this.#target.write(memory.subarray(start, end), position + start);
  }

  async #drain(): Promise<void> {
    if (this.#filling !== null && this.#failure === null) this.#issue(this.#filling, this.#filling.to);
    await Promise.all(this.#inFlight);
    if (this.#filling !== null) this.#spare.push(this.#filling.memory);
    this.#filling = null;
    this.#check();
  }

  #check(): void {
    if (this.#failure !== null) throw this.#failure;
  }
}
