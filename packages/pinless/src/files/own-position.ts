/**
 * The position of a file's open description, where calls without a position go. It belongs to everybody who has the description: a shell,
 * a child, another descriptor. As long as nobody else can have it, it's kept here, so that such calls may go around the page cache, which
 * takes positions only; from then on it's the kernel's, whose calls move it with nobody able to come between.
 */

import type { DescriptorCalls } from "../ports/opened-file.js";
import type { SystemError } from "../protocol/errors.js";

/** A transfer at the position kept here. */
interface UnderWay {
  readonly write: boolean;
  readonly bytes: number;
}

export class OwnPosition {
  readonly #calls: DescriptorCalls;
  /** Null: it's the kernel's. */
  #kept: number | null;
  #underWay: UnderWay | null = null;
  #turns: Promise<unknown> = Promise.resolve();

  /** `alone`: nobody else has the open description. */
  constructor(calls: DescriptorCalls, alone: boolean) {
    this.#calls = calls;
    this.#kept = alone ? 0 : null;
  }

  /** One after the other, in the order of calls. */
  inTurn(run: () => Promise<number>): Promise<number> {
    const turn = this.#turns.then(run);
    this.#turns = turn.catch(() => {});
    return turn;
  }

  /** In its turn: `here` is given the position kept, which then moves by what it transfers; or else `byKernel` runs. */
  async run(
    { write, bytes }: UnderWay,
    here: (position: number) => Promise<number>,
    byKernel: () => Promise<number>,
  ): Promise<number> {
    const from = this.#kept;
    if (from === null) return byKernel();
    this.#underWay = { write, bytes };
    let moved = 0;
    try {
      moved = await here(from);
      return moved;
    } catch (error) {
      // What was written before it failed was written.
      moved = (error as SystemError).bytesWritten ?? 0;
      throw error;
    } finally {
      const to = from + moved;
      if (this.#kept !== null) this.#kept = to;
      else this.#correct(from + this.#reach(from), to);
      this.#underWay = null;
    }
  }

  /** It ended elsewhere than whoever came to share the position was told; unless that one has moved it since. */
  #correct(promised: number, to: number): void {
    if (to !== promised && this.#calls.tell() === promised) this.#calls.seek(to);
  }

  /** Somebody else may have the open description from now on, and go on where the transfer that's under way will end. */
  share(): void {
    if (this.#kept === null) return;
    this.#calls.seek(this.#kept + this.#reach(this.#kept));
    this.#kept = null;
  }

  /** How far the transfer under way will come, as far as can be known. */
  #reach(from: number): number {
    if (this.#underWay === null) return 0;
    const { write, bytes } = this.#underWay;
    const size = write ? 0 : this.#calls.size();
    return size === 0 ? bytes : Math.min(bytes, Math.max(0, size - from));
  }
}
