/** Writeback in virtual time: the flusher thread, fsync and msync, made of the machine's steps. */

import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";

/** Longest time from the beginning to the end of a page's writeback. */
const MOST_MS = 0.2;
/** Time after which a waiting call looks again. */
const LOOK_MS = 0.02;

export class Flusher {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /**
   * Begins writeback of the dirty pages among these. Returns 0, WAIT if one of them is still under an earlier
   * writeback, or a negative errno.
   */
  begin(first: number, pages: number): number {
    const machine = this.#machine;
    let answer = 0;
    for (let inodePage = first; inodePage < first + pages; inodePage++) {
      machine.contents.noticeFile(inodePage);
      if (!machine.cache.isDirty(inodePage)) continue;
      const begun = machine.writeback.begin(inodePage);
      if (begun === 0) this.#goOn(inodePage);
      else if (answer === 0 || begun !== WAIT) answer = begun;
    }
    return answer;
  }

  #goOn(inodePage: number): void {
    const { clock, random } = this.#machine;
    const half = (): number => random.stream("writeback ms").upTo(MOST_MS / 2);
    clock.after(half(), () => {
      this.#machine.contents.noticeFile(inodePage);
      this.#machine.writeback.serve(inodePage);
      clock.after(half(), () => this.#machine.writeback.end(inodePage));
    });
  }

  /** True if any of the pages is under writeback. */
  isBusy(first: number, pages: number): boolean {
    for (let inodePage = first; inodePage < first + pages; inodePage++)
      if (this.#machine.cache.isUnderWriteback(inodePage)) return true;
    return false;
  }

  /** fsync and msync: calls `done` when everything that was dirty at the time of the call is on the disk. */
  sync(first: number, pages: number, done: (errno: number) => void): void {
    const { clock } = this.#machine;
    const wait = (errno: number): void => {
      if (this.isBusy(first, pages)) clock.after(LOOK_MS, () => wait(errno));
      else done(errno);
    };
    const begin = (): void => {
      const begun = this.begin(first, pages);
      if (begun === WAIT) clock.after(LOOK_MS, begin);
      else wait(begun);
    };
    begin();
  }
}
