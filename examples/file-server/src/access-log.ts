/** The access log: lines on the standard output, written in the background so that no response waits for them. */

import { createWriteStream } from "node:fs";

const STDOUT = 1;
/** Bytes that may wait for a slow reader of the log. Lines beyond that are dropped, and counted. */
const MAX_WAITING = 1 << 20;

export class AccessLog {
  // Not process.stdout, whose writes to files and pipes are synchronous. Nobody is left to tell of an error.
  readonly #output = createWriteStream("", { fd: STDOUT, autoClose: false }).on("error", () => {});
  dropped = 0;

  line(text: string): void {
    if (this.#output.writableLength > MAX_WAITING) this.dropped++;
    else this.#output.write(`${text}\n`);
  }

  /** Resolves once all lines are written. */
  end(): Promise<void> {
    return new Promise((resolve) => this.#output.end(() => resolve()));
  }
}
