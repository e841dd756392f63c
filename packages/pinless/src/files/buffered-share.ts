/** The ways that a file's requests went. Where most of those that could have gone direct didn't, its engine says so, once. */

/** Fewer say nothing: a header, the end of a file. */
const ENOUGH = 64;

export class Detours {
  /** Requests around the page cache. */
  direct = 0;
  #buffered = 0;
  readonly #say: (() => void) | null;

  /** `say`: null for a file that has no direct I/O, which `File.direct` says. */
  constructor(say: (() => void) | null) {
    this.#say = say;
  }

  /** One went through the page cache. */
  buffered(): void {
    if (this.#say !== null && ++this.#buffered >= ENOUGH && this.#buffered > this.direct) this.#say();
  }
}

/** The sentence that an engine says of such a file. */
export function mostlyBuffered(offsetAlign: number): string {
  return (
    `most requests of a file with direct I/O went through the page cache: around it go offsets and lengths in multiples of ${offsetAlign} ` +
    "bytes (file.alignment) and reads from 32 KiB on, at the own position only while nobody else has file.fd, and no appends"
  );
}
