/** Registered files: the kernel then looks a descriptor up once instead of for each request. */

import { FILES_UPDATE, RSRC_REGISTER } from "../../abi/layouts.js";
import { IO_URING } from "../../abi/numbers.js";
import { ioUringRegister } from "../../linux/libc.js";
import { addressOf } from "../../linux/libc-bindings.js";

/** Capacity; further files are used by their descriptors. */
const SLOTS = 256;
/** Handles of registered files begin here; smaller ones are descriptors (fs.nr_open is at most 2^30). */
export const REGISTERED = 2 ** 30;

export class FileTable {
  readonly #ringFd: number;
  readonly #free: number[] = [];
  /** Descriptor of each slot, and the flags for its submission entries. */
  readonly #fds = new Int32Array(SLOTS);
  readonly flags = new Int32Array(SLOTS);
  readonly #scratch = new ArrayBuffer(128);
  readonly #address: number;

  constructor(ringFd: number) {
    this.#ringFd = ringFd;
    this.#address = addressOf(this.#scratch);
    const words = new Uint32Array(this.#scratch);
    words[RSRC_REGISTER.fields.nr / 4] = SLOTS;
    words[RSRC_REGISTER.fields.flags / 4] = IO_URING.IORING_RSRC_REGISTER_SPARSE;
    const made = ioUringRegister(ringFd, IO_URING.IORING_REGISTER_FILES2, this.#address, RSRC_REGISTER.size);
    // Without the table (kernels before 5.19, or no memory) files are used by their descriptors, which is only slower.
    if (made === 0) for (let slot = SLOTS - 1; slot >= 0; slot--) this.#free.push(slot);
  }

  /**
   * Registers a descriptor; returns a handle. `flags` are those for its submission entries, already shifted to their
   * place in the word.
   */
  attach(fd: number, flags: number): number {
    const slot = this.#free.pop();
    if (slot === undefined) return fd;
    if (this.#set(slot, fd) === 1) {
      this.#fds[slot] = fd;
      this.flags[slot] = flags;
      return REGISTERED + slot;
    }
    this.#free.push(slot);
    return fd;
  }

  /** Unregisters a file. Requests in flight would keep the file open, so there should be none. */
  detach(file: number): void {
    if (file < REGISTERED) return;
    const slot = file - REGISTERED;
    if (this.#set(slot, -1) === 1) this.#free.push(slot);
  }

  /** The descriptor of a handle. */
  descriptorOf(file: number): number {
    return file < REGISTERED ? file : this.#fds[file - REGISTERED]!;
  }

  #set(slot: number, fd: number): number {
    const words = new Int32Array(this.#scratch);
    const fds = FILES_UPDATE.size / 4;
    words[FILES_UPDATE.fields.offset / 4] = slot;
    words[1] = 0;
    new BigUint64Array(this.#scratch)[FILES_UPDATE.fields.fds / 8] = BigInt(this.#address + FILES_UPDATE.size);
    words[fds] = fd;
    return ioUringRegister(this.#ringFd, IO_URING.IORING_REGISTER_FILES_UPDATE, this.#address, 1);
  }
}
