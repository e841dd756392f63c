/** `file.lock()`: advisory locks of an open file description on parts of a file (F_OFD_SETLK). */

import type { LockKind } from "../ports/memory.js";
import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import { EAGAIN } from "../protocol/errno.js";
import { systemError } from "../protocol/errors.js";
import { RangeSet } from "../protocol/ranges/range-set.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { FileHost } from "./file-host.js";
import { checkNumber, signalOf } from "./many-arguments.js";
import { fileClosed, throwIfAborted } from "./node-errors.js";

/** Options of {@link File.lock}. */
export interface LockOptions {
  /**
   * Excludes all other locks; otherwise only exclusive ones.
   *
   * @defaultValue true
   */
  exclusive?: boolean | undefined;
  /**
   * Offset in the file of the first byte.
   *
   * @defaultValue 0
   */
  start?: number | undefined;
  /**
   * Bytes, at least 1.
   *
   * @defaultValue all from `start` on, however long the file gets
   */
  length?: number | undefined;
  /**
   * Tries again until the lock is free: first after 1 ms, in the end every 32 ms. Those who wait have no order.
   *
   * @defaultValue false: the call fails with EAGAIN
   */
  wait?: boolean | undefined;
  /** Ends the wait with an AbortError when it's aborted. */
  signal?: AbortSignal | undefined;
}

/** A lock on a part of a file, from {@link File.lock} until `unlock` or until the file is closed. */
export class FileLock {
  readonly #unlock: () => Promise<void>;

  /** @internal */
  constructor(unlock: () => Promise<void>) {
    this.#unlock = unlock;
  }

  /** Unlocks all but what later locks of the same File have taken over. Does nothing when called again. */
  unlock(): Promise<void> {
    return this.#unlock();
  }

  /** Unlocks, at the end of an `await using` block. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.unlock();
  }
}

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

function lockOptionsOf(options: LockOptions) {
  checkOptions("lock", options, ["exclusive", "start", "length", "wait", "signal"]);
  const { exclusive = true, start = 0, length = Number.POSITIVE_INFINITY, wait = false } = options;
  checkBoolean("exclusive", exclusive);
  checkBoolean("wait", wait);
  checkNumber("start", start, 0, Number.MAX_SAFE_INTEGER);
  if (length !== ALL.end) checkNumber("length", length, 1, Number.MAX_SAFE_INTEGER - start);
  const kind: LockKind = exclusive ? "exclusive" : "shared";
  return { kind, range: { start, end: start + length }, wait, signal: signalOf(options) };
}
