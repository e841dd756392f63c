/**
 * The contents that the program may find on every page, derived only from its own calls and their results. A request or
 * a memory operation takes effect at one moment between its begin and its end. Where two overlap, either order is
 * right, so a page may have two right contents: the one last stored or read, and the zeros of a discard.
 */

import { violated } from "pinless/portable";

/** Begun during somebody else's discard. */
const OVERLAPPED = -1;
/** Readers of a page of which nothing is known any more. */
const FORGOTTEN = 1 << 30;

export class Oracle {
  /** By page, all of them: what was last stored or read, */
  readonly #content: Int32Array;
  /** true if zeros are right as well, */
  readonly #orZero: Uint8Array;
  /** reads in flight (the page may hold any part of them), */
  readonly #reading: Int32Array;
  /** discards in progress, and all that have begun, */
  readonly #discarding: Int32Array;
  readonly #discards: Int32Array;
  /** those in progress that are other code's, which nothing keeps out, */
  readonly #foreign: Int32Array;
  /** and how often it was stored to or read. */
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

  #becomes(page: number, content: number, orZero: boolean): void {
    this.#content[page] = content;
    this.#orZero[page] = orZero ? 1 : 0;
  }

  /** The program stores something. */
  stored(page: number, content: number): void {
    this.#touched[page]!++;
    this.#becomes(page, content, this.#discarding[page]! > 0);
  }

  /** Notes that a read begins. Returns the argument `begun` of `readEnds`. */
  readBegins(page: number): number {
    this.#reading[page]!++;
    this.#touched[page]!++;
    // What the program's own discards keep out takes effect after them.
    return this.#foreign[page] === 0 ? this.#discards[page]! : OVERLAPPED;
  }

  readEnds(page: number, content: number, begun: number): void {
    this.readFails(page);
    this.#becomes(page, content, this.#discarding[page]! > 0 || this.#discards[page] !== begun);
  }

  /** It failed, or never got so far. */
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

  /** `lazily`: until it's written again the page may read as before. */
  discardEnds(page: number, lazily: boolean, begun: number): void {
    this.#discarding[page]!--;
    if (!lazily && this.#reading[page] === 0 && this.#touched[page] === begun) this.#becomes(page, 0, true);
  }

  foreignBegins(page: number): number {
    this.#foreign[page]!++;
    return this.discardBegins(page);
  }

  foreignEnds(page: number, lazily: boolean, begun: number): void {
    this.#foreign[page]!--;
    this.discardEnds(page, lazily, begun);
  }

  /** Takes the content that is there now as right. */
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
