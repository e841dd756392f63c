/** The engine behind `open()`: there from the first call on, and gone again once its last file was closed and nobody has opened another. */

import type { File } from "../files/file.js";
import type { FilePath } from "../ports/opened-file.js";
import type { Loop } from "../protocol/scheme.js";
import { openFilesOf, type PortableEngine } from "./engine.js";
import { Kept } from "./kept.js";

/** Looks as often: an engine without files and calls for so long gives everything back. Opening it again takes some milliseconds. */
const IDLE_MS = 1000;

export class DefaultEngine {
  readonly #open: () => Promise<PortableEngine>;
  readonly #loop: Loop;
  readonly #engine = new Kept(() => this.#start());
  /** Calls under way; and whether there was one since the last look. */
  #calls = 0;
  #called = false;

  constructor(open: () => Promise<PortableEngine>, loop: Loop) {
    this.#open = open;
    this.#loop = loop;
  }

  async openFile(path: FilePath, flags?: string | number, mode?: number): Promise<File> {
    this.#calls++;
    this.#called = true;
    try {
      const engine = await this.#engine.get();
      return await engine.openFile(path, flags, mode);
    } finally {
      this.#calls--;
      this.#called = true;
    }
  }

  async #start(): Promise<PortableEngine> {
    const engine = await this.#open();
    const stop = this.#loop.every(IDLE_MS, () => {
      const isIdle = this.#calls === 0 && !this.#called && openFilesOf(engine) === 0;
      this.#called = false;
      if (!isIdle) return;
      stop();
      this.#engine.forget();
      // Nobody is there to be told what couldn't be given back; it's tried to the end.
      engine.close().catch(() => {});
    });
    return engine;
  }
}
