/** `file.copyRange()`: copies by the kernel, and by reads and writes where the kernel doesn't. */

import type { Stats } from "node:fs";
import { EINVAL, ENOSYS, EOPNOTSUPP, EXDEV } from "../protocol/errno.js";
import { type SystemError, systemError } from "../protocol/errors.js";
import type { BlocksOptions } from "./block-options.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import { fileClosed, throwIfAborted } from "./node-errors.js";

/** A file of the copy, and the place in it. */
interface CopyEnd {
  readonly file: {
    stat(): Promise<Stats>;
    blocks(options: BlocksOptions): AsyncIterable<Uint8Array>;
    write(bytes: Uint8Array, offset: number, length: number, position: number): Promise<unknown>;
  };
  readonly lifetime: FileLifetime;
  readonly position: number;
}

/** Refusals of copy_file_range(2) that are about the pair of files, and not about the bytes. */
const KERNEL_REFUSES: readonly number[] = [-EXDEV, -EINVAL, -EOPNOTSUPP, -ENOSYS];

export class RangeCopy {
  readonly #host: FileHost;
  readonly #from: CopyEnd;
  readonly #to: CopyEnd;
  #length: number;
  readonly #clone: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #call: string;
  #done = 0;

  constructor(
    host: FileHost,
    from: CopyEnd,
    to: CopyEnd,
    length: number,
    { clone, signal }: { readonly clone: boolean; readonly signal: AbortSignal | undefined },
  ) {
    this.#host = host;
    this.#from = from;
    this.#to = to;
    this.#length = length;
    this.#clone = clone;
    this.#signal = signal;
    this.#call = clone ? "ficlonerange" : "copy_file_range";
  }

  /** Copies, and resolves to the number of bytes: all, or those up to the end of the file. */
  async run(): Promise<number> {
    const ends = [this.#from, this.#to].map(({ lifetime }) => lifetime.transfers);
    for (const transfers of ends) transfers.begin();
    try {
      // Otherwise the copy gets its turn among the target's writes before any later call.
      if (this.#isWithinFile || this.#clone) await this.#limit();
      const errno = await this.#byKernel();
      if (errno < 0) await this.#byHand(errno);
      return this.#done;
    } catch (error) {
      (error as SystemError).bytesWritten = this.#done;
      throw error;
    } finally {
      for (const transfers of ends) transfers.end();
    }
  }

  get #isWithinFile(): boolean {
    return this.#from.lifetime.opened.identity === this.#to.lifetime.opened.identity;
  }

  /** Shortens the copy to the end of the file, as the kernel does, and refuses what overlaps: pieces might not. */
  async #limit(): Promise<void> {
    const [from, to] = [this.#from, this.#to];
    const stat = await from.file.stat();
    if (stat.isFile()) this.#length = Math.min(this.#length, Math.max(0, stat.size - from.position));
    const distance = Math.abs(from.position - to.position);
    if (this.#isWithinFile && distance < this.#length) throw systemError(this.#host.describe, -EINVAL, this.#call);
  }

  /** Copies by the kernel, in turn with the target's writes. Returns 0, or the errno with which it refuses. */
  async #byKernel(): Promise<number> {
    const [from, to] = [this.#from, this.#to];
    while (this.#done < this.#length) {
      this.#check();
      const request = {
        operation: "copyRange",
        address: 0,
        bytes: this.#length - this.#done,
        file: { fd: from.lifetime.handle.fd, position: from.position + this.#done },
        target: { fd: to.lifetime.handle.fd, position: to.position + this.#done },
        clone: this.#clone,
        device: to.lifetime.device,
      } as const;
      const copied = await to.lifetime.transfers.writeOrder.inTurn("cached", async () => {
        const { errno, bytes = 0 } = await this.#host.memory.run(request);
        return errno < 0 ? errno : bytes;
      });
      // The kernel copies nothing of a file whose size is 0, as that of files of /proc: only a read finds their end.
      if (copied === 0) return this.#done > 0 || this.#clone ? 0 : -EINVAL;
      if (copied > 0) this.#done += copied;
      else if (!this.#clone && KERNEL_REFUSES.includes(copied)) return copied;
      else throw systemError(this.#host.describe, copied, this.#call);
    }
    return 0;
  }

  /** Copies what is left by reads and writes. */
  async #byHand(errno: number): Promise<void> {
    const [name] = this.#host.describe(errno);
    const [from, to] = [this.#from, this.#to];
    const range = { start: from.position + this.#done, end: from.position + this.#length - 1 };
    for await (const block of from.file.blocks({ ...range, signal: this.#signal })) {
      this.#check();
      this.#host.degraded(`the kernel doesn't copy between two files (${name}): copyRange reads and writes`);
      await to.file.write(block, 0, block.byteLength, to.position + this.#done);
      this.#done += block.byteLength;
    }
  }

  /** Throws once the copy is aborted, or one of its files is to be closed. */
  #check(): void {
    throwIfAborted(this.#signal);
    if (this.#from.lifetime.isClosing || this.#to.lifetime.isClosing) throw fileClosed(this.#call);
  }
}
