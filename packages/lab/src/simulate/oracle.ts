/**
 * Oracle: the contents that the program may find on every page, derived only from its own calls and their results. A
 * request or a memory operation takes effect at one moment between its begin and its end. If two overlap, either order
 * is right, so a page may have two right contents: the one last stored or read, and the zeros of a discard.
 */

import { MMAN, violated } from "pinless/portable";

/** Mark of a read that began during a discard by other code. */
const OVERLAPPED = -1;
/** Added to the readers of a page whose content is no longer known. */
const FORGOTTEN = 1 << 30;

export class Oracle {
  // All of these are indexed by page.

  /** Content that was last stored or read. */
  readonly #content: Int32Array;
  /** 1 if zeros are right as well. */
  readonly #orZero: Uint8Array;
  /** Number of reads in flight: the page may hold any part of them. */
  readonly #reading: Int32Array;
  /** Number of discards in progress; and of all that have begun. */
  readonly #discarding: Int32Array;
  readonly #discards: Int32Array;
  /** Number of discards by other code in progress, which don't exclude requests. */
  readonly #foreign: Int32Array;
  /** Number of stores and reads. */
  readonly #touched: Int32Array;

  constructor(pages: number) {
    this.#content = new Int32Array(pages);
    this.#orZero = new Uint8Array(pages);
    this.#reading = new Int32Array(pages);
    this.#discarding = new Int32Array(pages);
    this.#discards = new Int32Array(pages);
    this.#foreign = new Int32Array(pages);
    this.#touched = new Int32Array(pages);
  }

  content(page: number): number {
    return this.#content[page]!;
  }

  orZero(page: number): boolean {
    return this.#orZero[page] === 1;
  }

  discards(page: number): number {
    return this.#discards[page]!;
  }

  #becomes(page: number, content: number, mayReadAs: "it" | "it or zeros"): void {
    this.#content[page] = content;
    this.#orZero[page] = mayReadAs === "it" ? 0 : 1;
  }

  /** Notes a store by the program. */
  stored(page: number, content: number): void {
    this.#touched[page]!++;
    this.#becomes(page, content, this.#discarding[page]! > 0 ? "it or zeros" : "it");
  }

  /** Notes that a read begins. Returns the argument `begun` of `readEnds`. */
  readBegins(page: number): number {
    this.#reading[page]!++;
    this.#touched[page]!++;
    // A read that one of the program's own discards excludes takes effect after it.
    return this.#foreign[page] === 0 ? this.#discards[page]! : OVERLAPPED;
  }

  readEnds(page: number, content: number, begun: number): void {
    this.readFails(page);
    const isDiscarded = this.#discarding[page]! > 0 || this.#discards[page] !== begun;
    this.#becomes(page, content, isDiscarded ? "it or zeros" : "it");
  }

  /** Notes that a read has failed, or was never submitted. */
  readFails(page: number): void {
    this.#reading[page]!--;
    this.#touched[page]!++;
  }

  /** Notes that a discard begins. Returns an argument of `discardEnds`. */
  discardBegins(page: number): number {
    this.#discarding[page]!++;
    this.#discards[page]!++;
    this.#orZero[page] = 1;
    return this.#touched[page]!;
  }

  /** Notes that a discard has ended. After MADV_FREE the page may read as before until it's written again. */
  discardEnds(page: number, advice: number, begun: number): void {
    this.#discarding[page]!--;
    if (advice !== MMAN.MADV_FREE && this.#reading[page] === 0 && this.#touched[page] === begun)
      this.#becomes(page, 0, "it or zeros");
  }

  foreignBegins(page: number): number {
    this.#foreign[page]!++;
    return this.discardBegins(page);
  }

  foreignEnds(page: number, advice: number, begun: number): void {
    this.#foreign[page]!--;
    this.discardEnds(page, advice, begun);
  }

  /** Accepts the present content as right. */
  forget(page: number): void {
    this.#reading[page]! |= FORGOTTEN;
  }

  knows(page: number): boolean {
    return this.#reading[page]! < FORGOTTEN;
  }

  check(page: number, found: number): void {
    const content = this.#content[page]!;
    if (found === content || this.#reading[page]! > 0 || (found === 0 && this.#orZero[page] === 1)) return;
    const right = this.orZero(page) ? `${content} or 0` : `${content}`;
    violated("LINEAR", `page ${page} holds ${found}, where ${right} would be right`);
  }
}
