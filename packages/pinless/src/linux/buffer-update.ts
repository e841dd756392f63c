/**
 * IORING_REGISTER_BUFFERS_UPDATE of one slot. Its arguments are allocated once, so that dropping a lease allocates
 * nothing.
 */

import { IOVEC, RSRC_UPDATE2 } from "../abi/layouts.js";
import { IO_URING } from "../abi/numbers.js";
import { ioUringRegister } from "./libc.js";
import { addressOf } from "./libc-bindings.js";

const IOVEC_AT = RSRC_UPDATE2.size;
const TAG_AT = IOVEC_AT + IOVEC.size;

export class BufferUpdate {
  readonly #ringFd: number;
  readonly #memory = new ArrayBuffer(128);
  readonly #words = new Uint32Array(this.#memory);
  readonly #address: number;

  constructor(ringFd: number) {
    this.#ringFd = ringFd;
    this.#address = addressOf(this.#memory);
    this.#pointer(RSRC_UPDATE2.fields.data, this.#address + IOVEC_AT);
    this.#pointer(RSRC_UPDATE2.fields.tags, this.#address + TAG_AT);
    this.#words[RSRC_UPDATE2.fields.nr / 4] = 1;
  }

  /**
   * Registers memory in a slot, or empties the slot (address 0). Returns 0 or -errno. The kernel posts the tag once the
   * registration is released.
   */
  set(slot: number, address: number, bytes: number, tagLow: number, tagHigh: number): number {
    this.#words[RSRC_UPDATE2.fields.offset / 4] = slot;
    this.#pointer(IOVEC_AT + IOVEC.fields.iov_base, address);
    this.#pointer(IOVEC_AT + IOVEC.fields.iov_len, bytes);
    this.#words[TAG_AT / 4] = tagLow;
    this.#words[TAG_AT / 4 + 1] = tagHigh;
    const updated = ioUringRegister(
      this.#ringFd,
      IO_URING.IORING_REGISTER_BUFFERS_UPDATE,
      this.#address,
      RSRC_UPDATE2.size,
    );
    return updated < 0 ? updated : 0;
  }

  #pointer(at: number, value: number): void {
    this.#words[at / 4] = value >>> 0;
    this.#words[at / 4 + 1] = Math.floor(value / 2 ** 32);
  }
}
