/** Methods of a File for storage engines and indexes: many ranges in one call, and the file's space. */

import { FOUND_AT_ONCE, type MemoryRequest, type MemoryResult } from "../ports/memory.js";
import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import { READ, WRITE } from "../protocol/direction.js";
import { EBADF, EINVAL, EOPNOTSUPP, ESPIPE } from "../protocol/errno.js";
import { type SystemError, systemError } from "../protocol/errors.js";
import { blocksRange } from "./block-options.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import type { FileLock, LockOptions } from "./lock-options.js";
import {
  type CopyOptions,
  checkNumber,
  copyOptionsOf,
  type DataRange,
  type DataRangesOptions,
  type FileRange,
  type FileWrite,
  type ReadManyOptions,
  rangesOf,
  readManyOptionsOf,
  type SpaceOptions,
  type WriteManyOptions,
  writeManyOptionsOf,
  writesOf,
} from "./many-arguments.js";
import { invalidType } from "./node-errors.js";
import { RangeCopy } from "./range-copy.js";
import { RangeReads, type RunningReads } from "./range-reads.js";
import { RangeRun } from "./range-run.js";
import { PIECE_BYTES } from "./staging-memory.js";
import { StreamedFile } from "./streamed-file.js";
import { writeEach } from "./write-many.js";

export abstract class StorageFile extends StreamedFile {
  readonly #host: FileHost;

  /** @internal */
  constructor(host: FileHost, lifetime: FileLifetime) {
    super(lifetime);
    this.#host = host;
  }

  /**
   * Reads any number of ranges: sorted, many at a time, near ones together. Ranges may have any alignment, and may
   * overlap; bytes that several of them share are read once. What the page cache has is taken from there, and nothing
   * is added to it.
   *
   * The results come in the order asked, by `for await` or by `toArray()`. Each is new memory, or the given buffer; new
   * ones of up to 16 KiB share ArrayBuffers of 256 KiB, as Node's small Buffers do: `slice()` one that outlives the
   * others. As of `read`, a result is shorter than asked for at the end of the file, and empty beyond. An iteration
   * reads up to 4 MiB ahead (or one range, if that is longer) and holds as much again; besides, a call uses up to 1 MiB
   * of the engine's staging memory.
   *
   * @param ranges - Any number of `{ position, length }`, or `{ position, buffer }` to read into memory of yours
   * @param options - Limits of reading ranges together, and a signal
   * @throws `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE` or `ERR_PINLESS_OPTION` for invalid arguments. The results
   *   reject as `read` does, with the range's place in the message and as `position`
   * @example
   * ```ts
   * const ranges = [{ position: 100, length: 20 }, { position: 1 << 20, length: 4096 }];
   * const [header, page] = await file.readMany(ranges).toArray();
   * for await (const bytes of file.readMany(ranges)) console.log(bytes.length);
   * ```
   */
  readMany(ranges: Iterable<FileRange>, options: ReadManyOptions = {}): RangeReads {
    const { signal, ...limits } = readManyOptionsOf(options);
    const { opened, transfers } = this.lifetime;
    return new RangeReads(rangesOf(ranges), {
      size: async () => (opened.traits.ends && (await this.stat()).size) || Number.POSITIVE_INFINITY,
      memoryFor: (bytes) => opened.calls.memoryFor(bytes),
      start: (targets): RunningReads => {
        this.assertOpen("read");
        if (!opened.readable) throw transfers.error(READ, -EBADF);
        const run = new RangeRun(this.#host, this.lifetime, targets, limits, (memory, position) =>
          this.read(memory, 0, memory.byteLength, position).then(({ bytesRead }) => bytesRead),
        );
        return { finished: run.run(signal), stop: run.stop };
      },
    });
  }

  /**
   * Writes any number of buffers at their positions, many at a time. Where they overlap, they are written in the order
   * given.
   *
   * @param writes - Any number of `{ position, buffer }`
   * @param options - A signal
   * @returns `bytesWritten` in all
   * @throws `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE` or `ERR_PINLESS_OPTION` for invalid arguments; otherwise as
   *   `write`. After an error no further write is begun, and the call rejects with it once those in flight have ended.
   *   Its `bytesWritten` is that of all writes, `index` and `position` are those of the write that failed, and
   *   `written` has the indexes of those that were done. The error of an abort has `bytesWritten` and `written` too
   */
  async writeMany(writes: Iterable<FileWrite>, options: WriteManyOptions = {}): Promise<{ bytesWritten: number }> {
    const { signal } = writeManyOptionsOf(options);
    const checked = writesOf(writes);
    this.assertOpen("write");
    const { opened, transfers } = this.lifetime;
    if (!opened.writable) throw transfers.error(WRITE, -EBADF);
    const write = (memory: Uint8Array, position: number): Promise<{ bytesWritten: number }> =>
      this.write(memory, 0, memory.byteLength, position);
    transfers.begin();
    try {
      return {
        bytesWritten: await writeEach(checked, write, this.#host.protocol.dispatcher.requests.capacity, signal),
      };
    } finally {
      transfers.end();
    }
  }

  /**
   * Allocates space for a part of the file, so that no write to it fails for want of space, as fallocate(2).
   *
   * @param position - Offset in the file, in bytes
   * @param length - Bytes, at least 1
   * @param options - `keepSize`: the file doesn't become longer (default false)
   * @throws ENOTSUP if the filesystem can't; ENOSPC, EFBIG, EBADF; `ERR_OUT_OF_RANGE` or `ERR_INVALID_ARG_TYPE`
   */
  async allocate(position: number, length: number, options: SpaceOptions = {}): Promise<void> {
    await this.#changeSpace("allocate", position, length, keepsSize(options));
  }

  /**
   * Gives the space of a part of the file back: it reads as zeros, and the file's size stays.
   *
   * @param position - Offset in the file, in bytes
   * @param length - Bytes, at least 1
   * @throws ENOTSUP if the filesystem can't; EBADF; `ERR_OUT_OF_RANGE` or `ERR_INVALID_ARG_TYPE`
   */
  async punchHole(position: number, length: number): Promise<void> {
    await this.#changeSpace("punch", position, length, true);
  }

  /**
   * Makes a part of the file zeros, with space allocated for it. Where the filesystem can't, zeros are written, and
   * `engine.stats().degraded` says so.
   *
   * @param position - Offset in the file, in bytes
   * @param length - Bytes, at least 1
   * @param options - `keepSize`: the file doesn't become longer (default false)
   * @throws ENOSPC, EFBIG, EBADF; `ERR_OUT_OF_RANGE` or `ERR_INVALID_ARG_TYPE`
   */
  async zeroRange(position: number, length: number, options: SpaceOptions = {}): Promise<void> {
    const keepSize = keepsSize(options);
    try {
      await this.#changeSpace("zero", position, length, keepSize);
    } catch (error) {
      if ((error as SystemError).errno !== -EOPNOTSUPP) throw error;
      this.#host.degraded("a filesystem can't zero a part of a file (ENOTSUP): zeroRange writes zeros");
      const end = keepSize ? Math.min(position + length, (await this.stat()).size) : position + length;
      const zeros = new Uint8Array(Math.max(0, Math.min(end - position, PIECE_BYTES)));
      for (let at = position; at < end; at += zeros.length)
        await this.write(zeros, 0, Math.min(zeros.length, end - at), at);
    }
  }

  /**
   * Copies a part of this file into another, or to another place in this one, as copy_file_range(2): the filesystem
   * shares the blocks where it can. Where the kernel doesn't copy between the two, they are read and written, and
   * `engine.stats().degraded` says so.
   *
   * @param position - Offset in this file, in bytes
   * @param length - Bytes
   * @param target - File to copy to, opened for writing
   * @param targetPosition - Offset in the target, in bytes
   * @param options - `clone`: blocks are shared, or the call fails (default false); `signal`
   * @returns `bytesCopied`, which is less than `length` only at the end of this file
   * @throws EINVAL if the ranges overlap in the same file; with `clone`, ENOTSUP, EXDEV or EINVAL if the blocks can't
   *   be shared; EBADF if one of the files is closed meanwhile; otherwise as `read` and `write`. The error of a copy
   *   that had begun has its `bytesWritten`
   * @example
   * ```ts
   * const { bytesCopied } = await file.copyRange(0, 1 << 30, file, 1 << 30);
   * ```
   */
  async copyRange(
    position: number,
    length: number,
    target: StorageFile,
    targetPosition: number,
    options: CopyOptions = {},
  ): Promise<{ bytesCopied: number }> {
    const how = copyOptionsOf(options);
    checkNumber("length", length, 0, Number.MAX_SAFE_INTEGER);
    checkNumber("position", position, 0, Number.MAX_SAFE_INTEGER - length);
    if (!(target instanceof StorageFile)) throw invalidType("target", "an instance of File", target);
    checkNumber("targetPosition", targetPosition, 0, Number.MAX_SAFE_INTEGER - length);
    this.assertOpen("copy_file_range");
    target.assertOpen("copy_file_range");
    const from = { file: this, lifetime: this.lifetime, position };
    const to = { file: target, lifetime: target.lifetime, position: targetPosition };
    return { bytesCopied: await new RangeCopy(this.#host, from, to, length, how).run() };
  }

  /**
   * Locks a part of the file for this File, as fcntl(2) with F_OFD_SETLK: other opens of the file can't lock it
   * meanwhile, in this process and in others. Reads and writes aren't hindered. Locks of one File never conflict: a
   * later one takes over the bytes that it shares with earlier ones, be it exclusive or not.
   *
   * @param options - `exclusive` (default true), `start`, `length` (default: everything), `wait`, `signal`
   * @returns The lock, to be given up by `unlock` or `await using`; closing the File gives it up too
   * @throws EAGAIN if another open of the file has a lock there; EBADF if the file is closed, or isn't open for writing
   *   (exclusive) or reading (shared); ENOLCK or ENOSYS where the filesystem has no locks; `ERR_OUT_OF_RANGE`,
   *   `ERR_INVALID_ARG_TYPE` or `ERR_PINLESS_OPTION`
   * @example
   * ```ts
   * const lock = await file.lock({ start: 0, length: 4096, wait: true, signal: AbortSignal.timeout(1000) });
   * await file.write(Buffer.from("mine"), { position: 0 });
   * await lock.unlock();
   * ```
   */
  async lock(options: LockOptions = {}): Promise<FileLock> {
    return this.lifetime.locks.lock(options);
  }

  /**
   * Finds the data of a sparse file: all but holes, which read as zeros. A filesystem that doesn't tell has one range.
   * Data that is written meanwhile may be missing.
   *
   * @param options - `start` (default 0) and `end` (included; default: the file's end) in bytes
   * @returns An iterator of the ranges, in order. `end` is included, so that each is one for `blocks` and
   *   `createReadStream`
   * @throws ESPIPE or EINVAL for files without positions or without blocks; EACCES if the file can't be opened again,
   *   for reading; EBADF; `ERR_PINLESS_OPTION`
   * @example
   * ```ts
   * let bytes = 0;
   * for await (const { start, end } of file.dataRanges()) bytes += end - start + 1;
   * ```
   */
  dataRanges(options: DataRangesOptions = {}): AsyncGenerator<DataRange, void, undefined> {
    checkOptions("dataRanges", options, ["start", "end"]);
    const { start, bytes } = blocksRange(options);
    return this.#dataRanges(start, Math.min(start + bytes, Number.MAX_SAFE_INTEGER));
  }

  async *#dataRanges(start: number, limit: number): AsyncGenerator<DataRange, void, undefined> {
    const { traits } = this.lifetime.opened;
    for (let at = start; at < limit; ) {
      this.assertOpen("lseek");
      if (!traits.ends) throw this.#failed(traits.preads ? -EINVAL : -ESPIPE, "lseek");
      const { errno, data = [] } = await this.#onThread({ operation: "dataRanges", bytes: limit - at }, at);
      if (errno < 0) throw this.#failed(errno, "lseek");
      for (const { start, end } of data) yield { start, end: end - 1 };
      if (data.length < FOUND_AT_ONCE) return;
      at = data.at(-1)!.end;
    }
  }

  /** Changes the file's space on another thread, in turn with the file's writes. */
  async #changeSpace(
    change: "allocate" | "punch" | "zero",
    position: number,
    bytes: number,
    keepSize: boolean,
  ): Promise<void> {
    checkNumber("position", position, 0, Number.MAX_SAFE_INTEGER);
    checkNumber("length", bytes, 1, Number.MAX_SAFE_INTEGER - position);
    this.assertOpen("fallocate");
    const request = { operation: "fallocate", bytes, change, keepSize } as const;
    const { transfers } = this.lifetime;
    const run = async (): Promise<number> => (await this.#onThread(request, position)).errno;
    transfers.begin();
    try {
      const errno = await transfers.writeOrder.inTurn("cached", run);
      if (errno < 0) throw this.#failed(errno, "fallocate");
    } finally {
      transfers.end();
    }
  }

  /** Runs an operation on this file on another thread, and keeps the file open meanwhile. */
  async #onThread(request: Omit<MemoryRequest, "address">, position: number): Promise<MemoryResult> {
    const { handle, transfers, device } = this.lifetime;
    transfers.begin();
    try {
      return await this.#host.memory.run({ ...request, address: 0, file: { fd: handle.fd, position }, device });
    } finally {
      transfers.end();
    }
  }

  #failed(errno: number, syscall: string): SystemError {
    return systemError(this.#host.describe, errno, syscall);
  }
}

function keepsSize(options: SpaceOptions): boolean {
  checkOptions("allocate or zeroRange", options, ["keepSize"]);
  checkBoolean("keepSize", options.keepSize);
  return options.keepSize === true;
}
