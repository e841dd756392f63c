/** `file.lock()`: advisory locks of an open file description on parts of a file (F_OFD_SETLK). */

import type { LockKind } from "../ports/memory.js";
import { EAGAIN } from "../protocol/errno.js";
import { systemError } from "../protocol/errors.js";
import { RangeSet } from "../protocol/ranges/range-set.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { FileHost } from "./file-host.js";
import { FileLock, type LockOptions, lockOptionsOf } from "./lock-options.js";
import { fileClosed, throwIfAborted } from "./node-errors.js";

/** The file that is locked. */
interface LockedFile {
  readonly handle: { readonly fd: number };
  readonly device: string;
  readonly isClosing: boolean;
}

const MOST_WAIT_MS = 32;
const ALL: Range = { start: 0, end: Number.POSITIVE_INFINITY };

/**
 * Locks of one File. To the kernel a lock is a property of bytes, without an owner within the open description; here
 * each byte belongs to the last lock that was taken on it.
 */
export class FileLocks {
  readonly #host: Pick<FileHost, "describe" | "loop" | "memory">;
  readonly #file: LockedFile;
  /** The bytes of each lock. */
  readonly #held = new Set<RangeSet>();
  #turns: Promise<unknown> = Promise.resolve();

  constructor(host: FileHost, file: LockedFile) {
    this.#host = host;
    this.#file = file;
  }

  async lock(options: LockOptions): Promise<FileLock> {
    const { kind, range, wait, signal } = lockOptionsOf(options);
    for (let ms = 1; ; ms = Math.min(2 * ms, MOST_WAIT_MS)) {
      throwIfAborted(signal);
      if (this.#file.isClosing) throw fileClosed("fcntl");
      const taken = await this.#inTurn(() => this.#take(kind, range));
      if (typeof taken === "object") return taken;
      if (taken !== -EAGAIN || !wait) throw this.#error(taken, range);
      await new Promise<void>((resolve) => this.#host.loop.after(ms, resolve));
    }
  }

  /** Unlocks everything: the kernel does so only when the last descriptor of the open description is closed. */
  end(): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#held.size === 0) return;
      this.#held.clear();
      await this.#unlock(ALL);
    });
  }

  async #take(kind: LockKind, range: Range): Promise<FileLock | number> {
    const errno = await this.#set(kind, range);
    if (errno < 0) return errno;
    const own = new RangeSet();
    for (const other of this.#held) other.remove(range);
    own.add(range);
    this.#held.add(own);
    return new FileLock(() => this.#inTurn(() => this.#give(own)));
  }

  async #give(own: RangeSet): Promise<void> {
    if (!this.#held.has(own)) return;
    for (const range of own.ranges) await this.#unlock(range);
    this.#held.delete(own);
  }

  async #unlock(range: Range): Promise<void> {
    const errno = await this.#set("none", range);
    if (errno < 0) throw this.#error(errno, range);
  }

  async #set(lock: LockKind, { start, end }: Range): Promise<number> {
    const { handle, device } = this.#file;
    const file = { fd: handle.fd, position: start };
    const request = { operation: "lock", address: 0, bytes: end - start, file, lock, device } as const;
    return (await this.#host.memory.run(request)).errno;
  }

  /** Runs calls one after the other, so that what they change here and in the kernel is the same. */
  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#turns.then(run);
    this.#turns = turn.catch(() => {});
    return turn;
  }

  #error(errno: number, { start, end }: Range): Error {
    const error = systemError(this.#host.describe, errno, "fcntl");
    const bytes = end === ALL.end ? `from byte ${start} on` : `bytes ${start} to ${end - 1}`;
    if (errno === -EAGAIN)
      error.message += `: the file is locked elsewhere (${bytes}): try again later, or wait with { wait: true }`;
    return error;
  }
}
