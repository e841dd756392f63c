/** The copier into mapped files, opened with the first arena of a file. */

import { ProcSelfMem } from "../files/proc-self-mem.js";
import type { Host } from "../ports/host.js";
import type { NodeHandle } from "../ports/opened-file.js";
import { type SystemError, unsupported } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Copier } from "../protocol/segment.js";
import { Lazy } from "./lazy.js";
import type { SubmissionQueue } from "./submission-queue.js";

/** Errors of a shortage that may pass. */
const PASSING: readonly string[] = ["EMFILE", "ENFILE", "ENOMEM", "EAGAIN"];

export interface SelfMemoryParts {
  readonly host: Host;
  readonly protocol: Protocol;
  readonly submissions: SubmissionQueue;
  /** Throws once the engine is closed. */
  assertOpen(): void;
}

export class SelfMemory {
  readonly #parts: SelfMemoryParts;
  readonly #copier = new Lazy(() => this.#open());
  #handle: NodeHandle | null = null;

  constructor(parts: SelfMemoryParts) {
    this.#parts = parts;
  }

  get(): Promise<Copier> {
    return this.#copier.get();
  }

  async #open(): Promise<Copier> {
    const { host, protocol, submissions, assertOpen } = this.#parts;
    let handle: NodeHandle;
    try {
      const opened = await host.openFile("/proc/self/mem", "r+");
      await opened.closeDirect();
      handle = opened.handle;
    } catch (cause) {
      assertOpen();
      const { code, message } = cause as SystemError;
      if (PASSING.includes(code)) throw cause;
      throw unsupported(`an arena of a file needs /proc/self/mem, which can't be opened here: ${message}`);
    }
    try {
      assertOpen();
    } catch (error) {
      await handle.close();
      throw error;
    }
    this.#handle = handle;
    return new ProcSelfMem(protocol.dispatcher, (attempt) => submissions.enqueue(attempt), handle.fd);
  }

  async close(): Promise<void> {
    await this.#handle?.close();
  }
}
