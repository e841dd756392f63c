/**
 * Orders the writes of one file so that buffered and direct ones never run at the same time. A small buffered write
 * fills its page from the disk: it may read a neighbouring block before a direct write to that block arrives, and later
 * overwrite it with the old contents. (The kernel detects some of these cases and fails the next fsync with EIO.)
 * Writes take turns, first come first served, in one order for all openings of the file.
 */

import type { Owner } from "../protocol/acceptance.js";

/** One opening of the file. */
export interface Writer {
  /** Counts the direct writes of the hot path, which aren't counted here. */
  readonly owner: Owner;
  /** Asks the writer to call `next` when its requests end, because a write is waiting. */
  watch(): void;
}

/** Path of a write: through the page cache, or around it. */
export type WritePath = "cached" | "direct";

/** A reader that has read parts of the file ahead. */
interface AheadReader {
  /** Notes that a write begins on a range of the file. */
  overwritten(start: number, end: number): void;
}

interface Waiting {
  readonly path: WritePath;
  readonly go: () => void;
}

export class WriteOrder {
  readonly #writers = new Set<Writer>();
  readonly #waiting: Waiting[] = [];
  readonly #abandoned: () => void;
  #cached = 0;
  #direct = 0;
  /** Readers ahead; null if there is none, which is all that the hot path looks at. */
  #readers: Set<AheadReader> | null = null;

  constructor(abandoned: () => void) {
    this.#abandoned = abandoned;
  }

  join(writer: Writer): void {
    this.#writers.add(writer);
  }

  part(writer: Writer): void {
    this.#writers.delete(writer);
    if (this.#writers.size === 0) this.#abandoned();
  }

  watch(reader: AheadReader): void {
    this.#readers ??= new Set();
    this.#readers.add(reader);
  }

  unwatch(reader: AheadReader): void {
    this.#readers?.delete(reader);
    if (this.#readers?.size === 0) this.#readers = null;
  }

  /** Notes that a write begins, or has changed the file without a turn: at a range, or anywhere. */
  overwritten(start = 0, end = Number.POSITIVE_INFINITY): void {
    if (this.#readers !== null) for (const reader of this.#readers) reader.overwritten(start, end);
  }

  /** True if no write is in flight. */
  get isQuiet(): boolean {
    return this.#cached === 0 && this.#mayGo("cached");
  }

  /** True if a direct write may begin now. */
  get direct(): boolean {
    return this.#cached === 0 && this.#waiting.length === 0;
  }

  /** True if a write is waiting. */
  get awaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** Counts a direct write that begins now, as `direct` allows. */
  enterDirect(): void {
    this.#direct++;
  }

  async enter(path: WritePath): Promise<void> {
    if (this.#waiting.length === 0 && this.#mayGo(path)) {
      this.#count(path, 1);
      return;
    }
    const turn = new Promise<void>((go) => this.#waiting.push({ path, go }));
    for (const writer of this.#writers) writer.watch();
    await turn;
  }

  leave(path: WritePath): void {
    this.#count(path, -1);
    this.next();
  }

  /** Runs a write in its turn. */
  async inTurn(path: WritePath, write: () => Promise<number>): Promise<number> {
    await this.enter(path);
    try {
      return await write();
    } finally {
      this.leave(path);
    }
  }

  /** Runs `go` in the turn of direct writes: for a direct write that has waited for memory. */
  whenDirectWritable(go: () => void): void {
    this.overwritten();
    if (this.direct) go();
    else
      void this.enter("direct").then(() => {
        go();
        this.leave("direct");
      });
  }

  /** Starts the waiting writes that may begin now, oldest first; each is counted before it runs. */
  next(): void {
    while (this.#waiting.length > 0 && this.#mayGo(this.#waiting[0]!.path)) {
      const { path, go } = this.#waiting.shift()!;
      this.#count(path, 1);
      go();
    }
  }

  #mayGo(path: WritePath): boolean {
    if (path === "direct") return this.#cached === 0;
    if (this.#direct > 0) return false;
    for (const { owner } of this.#writers) if (owner.directWrites > 0) return false;
    return true;
  }

  #count(path: WritePath, by: number): void {
    if (by > 0) this.overwritten();
    if (path === "cached") this.#cached += by;
    else this.#direct += by;
  }
}

/** The write order of every open file, by its identity. */
export class WriteOrders {
  readonly #byIdentity = new Map<string, WriteOrder>();

  of(identity: string): WriteOrder {
    const known = this.#byIdentity.get(identity);
    if (known !== undefined) return known;
    const made = new WriteOrder(() => this.#byIdentity.delete(identity));
    this.#byIdentity.set(identity, made);
    return made;
  }
}
