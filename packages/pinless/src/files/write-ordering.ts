/**
 * The writes of one file, through the page cache and around it, never both at a time: the page that a small write fills from the disk could
 * be older than a neighbouring block on its way there, and would overwrite it later; the kernel notices some of it, and fails the next
 * fsync with EIO. They take turns; nobody overtakes who waits. A file that is open more than once has one order for all.
 */

import type { Owner } from "../protocol/acceptance.js";

/** One opening of the file. */
export interface Writer {
  /** Counts the direct writes of the hot path, which aren't entered here. */
  readonly owner: Owner;
  /** Somebody waits: tell `Turns.next` of the ends of requests. */
  watch(): void;
}

interface Waiting {
  readonly cached: boolean;
  readonly go: () => void;
}

export class Turns {
  readonly #writers = new Set<Writer>();
  readonly #waiting: Waiting[] = [];
  readonly #abandoned: () => void;
  #cached = 0;
  #direct = 0;

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

  /** Whether a direct write may go now. */
  get direct(): boolean {
    return this.#cached === 0 && this.#waiting.length === 0;
  }

  /** Whether somebody waits for direct writes to end. */
  get awaited(): boolean {
    return this.#waiting.length > 0;
  }

  /** A direct write goes now, since `direct` allows it. */
  enterDirect(): void {
    this.#direct++;
  }

  async enter(cached: boolean): Promise<void> {
    if (this.#waiting.length === 0 && this.#mayGo(cached)) {
      this.#count(cached, 1);
      return;
    }
    const turn = new Promise<void>((go) => this.#waiting.push({ cached, go }));
    for (const writer of this.#writers) writer.watch();
    await turn;
  }

  leave(cached: boolean): void {
    this.#count(cached, -1);
    this.next();
  }

  /** Lets go whoever can, oldest first; counted in before it runs. */
  next(): void {
    while (this.#waiting.length > 0 && this.#mayGo(this.#waiting[0]!.cached)) {
      const { cached, go } = this.#waiting.shift()!;
      this.#count(cached, 1);
      go();
    }
  }

  #mayGo(cached: boolean): boolean {
    if (!cached) return this.#cached === 0;
    if (this.#direct > 0) return false;
    for (const { owner } of this.#writers) if (owner.directWrites > 0) return false;
    return true;
  }

  #count(cached: boolean, by: number): void {
    if (cached) this.#cached += by;
    else this.#direct += by;
  }
}

/** The turns of every file that is open, by its identity. */
export class TurnsOfFiles {
  readonly #turns = new Map<string, Turns>();

  of(identity: string): Turns {
    const known = this.#turns.get(identity);
    if (known !== undefined) return known;
    const made = new Turns(() => this.#turns.delete(identity));
    this.#turns.set(identity, made);
    return made;
  }
}
