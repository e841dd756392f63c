/**
 * What the program may find on every page, from what it asked for and was told alone. A request or a memory operation takes effect at one
 * moment between its begin and its end; where two overlap either order is right, so a page may have several contents that are right.
 */

import { violated } from "../core/assert.js";

interface Page {
  /** Contents that are right now. */
  allowed: number[];
  /** Reads in flight: the page may be any part of the way. */
  reading: number;
  /** Discards in progress, and how many have begun in all. */
  discarding: number;
  discards: number;
  /** Counts stores and reads. */
  touched: number;
}

/** What is remembered of a page while something of it is in progress. */
export interface Since {
  readonly discards: number;
  readonly touched: number;
}

export class Oracle {
  readonly #pages = new Map<number, Page>();

  #page(page: number): Page {
    let found = this.#pages.get(page);
    if (found === undefined) {
      found = { allowed: [0], reading: 0, discarding: 0, discards: 0, touched: 0 };
      this.#pages.set(page, found);
    }
    return found;
  }

  since(page: number): Since {
    const { discards, touched } = this.#page(page);
    return { discards, touched };
  }

  /** The program stores something. */
  stored(page: number, content: number): void {
    const p = this.#page(page);
    p.touched++;
    p.allowed = p.discarding > 0 ? [content, 0] : [content];
  }

  readBegins(page: number): Since {
    const p = this.#page(page);
    p.reading++;
    p.touched++;
    return this.since(page);
  }

  /** `content` null: it failed, or never got so far. */
  readEnds(page: number, content: number | null, begun: Since): void {
    const p = this.#page(page);
    p.reading--;
    p.touched++;
    const overlapped = p.discarding > 0 || p.discards !== begun.discards;
    if (content !== null) p.allowed = overlapped ? [content, 0] : [content];
  }

  discardBegins(page: number): Since {
    const p = this.#page(page);
    p.discarding++;
    p.discards++;
    if (!p.allowed.includes(0)) p.allowed.push(0);
    return this.since(page);
  }

  /** `lazily`: until it's written again the page may read as before. */
  discardEnds(page: number, lazily: boolean, begun: Since): void {
    const p = this.#page(page);
    p.discarding--;
    if (!lazily && p.reading === 0 && p.touched === begun.touched) p.allowed = [0];
  }

  /** What a write that begins now may write. */
  contents(page: number): readonly number[] {
    return this.#page(page).allowed;
  }

  check(page: number, found: number): void {
    const p = this.#page(page);
    if (p.reading > 0 || p.allowed.includes(found)) return;
    violated("LINEAR", `page ${page} holds ${found}, where ${p.allowed.join(" or ")} would be right`);
  }

  /** Pages that something is known of. */
  get known(): Iterable<number> {
    return this.#pages.keys();
  }
}
