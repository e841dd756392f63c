/**
 * File of a trace. Text is written in whole events, by calls that return once the kernel has it, so that the file can
 * be read however the process ends.
 */

import { constants } from "node:fs";
import path from "node:path";
import { FCNTL } from "../abi/numbers.js";
import { EACCES, EAGAIN } from "../protocol/errno.js";
import { setLock } from "./libc.js";
import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from "./originals.js";

const PENDING_BYTES = 1 << 16;

export class TraceFile {
  readonly path: string;
  readonly #fd: number;
  #pending = "";
  /** Error of the first write that failed: nothing is written after it. */
  failure: Error | null = null;
  #closed = false;

  private constructor(file: string, fd: number) {
    this.path = file;
    this.#fd = fd;
  }

  /**
   * Opens a file and empties it. Returns null if another engine is writing to it, of this process or of another. Throws
   * node:fs's errors, and one for what isn't a regular file.
   */
  static open(file: string): TraceFile | null {
    // Without O_NONBLOCK the opening of a pipe would wait for its reader.
    const fd = openSync(file, constants.O_WRONLY | constants.O_CREAT | constants.O_NONBLOCK, 0o666);
    try {
      if (!fstatSync(fd).isFile()) throw new Error("it isn't a regular file");
      // Where a filesystem has no locks, two engines' traces may overwrite each other.
      const errno = setLock(fd, FCNTL.F_WRLCK, 0, 0);
      if (errno === -EAGAIN || errno === -EACCES) {
        closeSync(fd);
        return null;
      }
      ftruncateSync(fd);
      return new TraceFile(file, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  write(text: string): void {
    this.#pending += text;
    if (this.#pending.length >= PENDING_BYTES) this.flush();
  }

  /** Hands to the kernel what was written since the last call. */
  flush(): void {
    let bytes = Buffer.from(this.failure === null ? this.#pending : "");
    this.#pending = "";
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(this.#fd, bytes));
    } catch (error) {
      this.failure = error as Error;
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.flush();
    closeSync(this.#fd);
  }
}

/** Name with a number before its ending: `trace.json` becomes `trace.2.json`. */
export function numberedName(file: string, number: number): string {
  const { dir, name, ext } = path.parse(file);
  return number === 1 ? file : path.join(dir, `${name}.${number}${ext}`);
}
