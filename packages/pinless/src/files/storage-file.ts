/** Methods of a File for storage engines and indexes: many ranges in one call, and the file's space. */

import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import { READ, WRITE } from "../protocol/direction.js";
import { EBADF, EOPNOTSUPP } from "../protocol/errno.js";
import { type SystemError, systemError } from "../protocol/errors.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import {
  checkNumber,
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
    const { handle, opened, transfers } = this.lifetime;
    const file = { fd: handle.fd, position };
    const device = opened.identity.split(":")[0]!;
    const request = { operation: "fallocate", address: 0, bytes, change, keepSize, file, device } as const;
    const run = async (): Promise<number> => (await this.#host.memory.run(request)).errno;
    transfers.begin();
    try {
      const errno = await transfers.writeOrder.inTurn("cached", run);
      if (errno < 0) throw systemError(this.#host.describe, errno, "fallocate");
    } finally {
      transfers.end();
    }
  }
}

function keepsSize(options: SpaceOptions): boolean {
  checkOptions("allocate or zeroRange", options, ["keepSize"]);
  checkBoolean("keepSize", options.keepSize);
  return options.keepSize === true;
}
