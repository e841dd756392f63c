/**
 * The position of a file's open description, used by calls without a position. All users of the description share it: a
 * child process, or another descriptor. As long as there can be no other user, the position is kept here, so that such
 * calls can be direct I/O, which always takes a position. Once the description may be shared, the kernel keeps the
 * position, and its system calls move it atomically.
 */

import type { DescriptorCalls } from "../ports/opened-file.js";
import { type Direction, WRITE } from "../protocol/direction.js";
import type { SystemError } from "../protocol/errors.js";

/** A transfer at the position that is kept here. */
interface TransferInFlight {
  readonly direction: Direction;
  readonly bytes: number;
}

export class OwnPosition {
  readonly #calls: DescriptorCalls;
  /** The position; null once the kernel keeps it. */
  #kept: number | null;
  #underWay: TransferInFlight | null = null;
  #turns: Promise<unknown> = Promise.resolve();

  /** `alone` is true if the open description has no other user. */
  constructor(calls: DescriptorCalls, alone: boolean) {
    this.#calls = calls;
    this.#kept = alone ? 0 : null;
  }

  /** Runs calls one after the other, in the order they were made. */
  inTurn(run: () => Promise<number>): Promise<number> {
    const turn = this.#turns.then(run);
    this.#turns = turn.catch(() => {});
    return turn;
  }

  /**
   * Runs a call whose turn has come. `here` gets the kept position, which then advances by what it transfers;
   * `byKernel` runs instead once the kernel keeps it.
   */
  async run(
    { direction, bytes }: TransferInFlight,
    here: (position: number) => Promise<number>,
    byKernel: () => Promise<number>,
  ): Promise<number> {
    const from = this.#kept;
    if (from === null) return byKernel();
    this.#underWay = { direction, bytes };
    let moved = 0;
    try {
      moved = await here(from);
      return moved;
    } catch (error) {
      // Bytes written before the failure still move the position.
      moved = (error as SystemError).bytesWritten ?? 0;
      throw error;
    } finally {
      const to = from + moved;
      if (this.#kept !== null) this.#kept = to;
      else this.#correct(from + this.#reach(from), to);
      this.#underWay = null;
    }
  }

  /**
   * Corrects the kernel's position if the transfer ended elsewhere than predicted, unless another user has moved it
   * since.
   */
  #correct(promised: number, to: number): void {
    if (to !== promised && this.#calls.tell() === promised) this.#calls.seek(to);
  }

  /**
   * Hands the position over to the kernel, because the open description may get another user. It's set to where the
   * transfer in flight is expected to end.
   */
  share(): void {
    if (this.#kept === null) return;
    this.#calls.seek(this.#kept + this.#reach(this.#kept));
    this.#kept = null;
  }

  /** Expected length of the transfer in flight. */
  #reach(from: number): number {
    if (this.#underWay === null) return 0;
    const { direction, bytes } = this.#underWay;
    const size = direction === WRITE ? 0 : this.#calls.size();
    return size === 0 ? bytes : Math.min(bytes, Math.max(0, size - from));
  }
}
