/**
 * The engine behind `open()`: opened by the first call, and closed when it has had no files and no calls for a while.
 */

import type { File } from "../files/file.js";
import type { RequestOptions } from "../files/request-options.js";
import type { FilePath } from "../ports/opened-file.js";
import type { Loop } from "../protocol/scheme.js";
import { openFilesOf, type PortableEngine } from "./engine.js";
import { Lazy } from "./lazy.js";

/** Time without files and calls after which the engine is closed. Opening it again takes some milliseconds. */
const IDLE_MS = 1000;

export class DefaultEngine {
  readonly #open: () => Promise<PortableEngine>;
  readonly #loop: Loop;
  readonly #engine = new Lazy(() => this.#start());
  /** Calls in progress. */
  #calls = 0;
  /** True if there was a call since the last check. */
  #called = false;

  constructor(open: () => Promise<PortableEngine>, loop: Loop) {
    this.#open = open;
    this.#loop = loop;
  }

  async openFile(path: FilePath, flags?: string | number, mode?: number, options?: RequestOptions): Promise<File> {
    this.#calls++;
    this.#called = true;
    try {
      const engine = await this.#engine.get();
      const file = await engine.openFile(path, flags, mode, options);
      file.leaveToProgram();
      return file;
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
      // There is no caller to report an error to; close() frees all it can in any case.
      engine.close().catch(() => {});
    });
    return engine;
  }
}
