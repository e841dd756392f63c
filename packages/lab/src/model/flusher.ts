/** Writeback in time: what a flusher thread, fsync and msync do with the machine's steps. */

import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";

/** From its begin to its end a page's writeback takes up to so long. */
const MOST_MS = 0.2;
/** How soon somebody who waits looks again. */
const LOOK_MS = 0.02;

export class Flusher {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /**
   * Begins to write the dirty ones of these pages. 0, WAIT where a page has to wait for an earlier way of it, or a
   * negative errno.
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

  /** Whether anything of them is on its way. */
  isBusy(first: number, pages: number): boolean {
    for (let inodePage = first; inodePage < first + pages; inodePage++)
      if (this.#machine.cache.isUnderWriteback(inodePage)) return true;
    return false;
  }

  /** fsync, msync: calls back once all that was dirty of these pages when it was called is on the disk. */
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
