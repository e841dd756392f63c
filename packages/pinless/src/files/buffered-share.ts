/** Counts a file's direct and buffered requests, to warn once when most of those that could be direct weren't. */

/** Buffered requests below which nothing is said: a header or the tail of a file is normal. */
const ENOUGH = 64;

export class BufferedShare {
  /** Requests that went around the page cache. */
  direct = 0;
  #buffered = 0;
  readonly #say: (() => void) | null;

  /** `say` reports the file. It's null for a file without direct I/O, since `File.direct` shows that already. */
  constructor(say: (() => void) | null) {
    this.#say = say;
  }

  /** Counts a request that went through the page cache. */
  buffered(): void {
    if (this.#say !== null && ++this.#buffered >= ENOUGH && this.#buffered > this.direct) this.#say();
  }
}

/** Builds the sentence about such a file in `engine.stats().degraded`. */
export function mostlyBuffered(offsetAlign: number): string {
  return (
    "most requests of a file that supports direct I/O went through the page cache: " +
    `direct I/O takes offsets and lengths in multiples of ${offsetAlign} bytes (file.alignment), or reads of 32 KiB ` +
    "and more; no appends, and nothing at the own position once file.fd was used"
  );
}
