/** A file that is written in pieces, of which only the last few are in memory. */

import { closeSync, openSync, writeFileSync } from "node:fs";
import { UsageError } from "@pinless/cli/command";

const PIECE = 1 << 16;

export class GrowingFile {
  readonly #name: string;
  readonly #fd: number;
  #pending = "";

  /** Opens the file. Throws `UsageError` if it can't be written, as the other methods do. */
  constructor(name: string) {
    this.#name = name;
    this.#fd = this.#checked(() => openSync(name, "w"));
  }

  readonly add = (text: string): void => {
    this.#pending += text;
    if (this.#pending.length >= PIECE) this.#write();
  };

  close(): void {
    this.#write();
    this.#checked(() => closeSync(this.#fd));
  }

  #write(): void {
    this.#checked(() => writeFileSync(this.#fd, this.#pending));
    this.#pending = "";
  }

  #checked<T>(run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw new UsageError(`${this.#name} can't be written: ${(error as Error).message}`);
    }
  }
}
