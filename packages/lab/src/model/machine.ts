/**
 * A machine: the model kernel with virtual time, random numbers and the bytes behind its content tags. It changes
 * nothing in the kernel.
 */

import { invariant, PAGE_BYTES } from "pinless/portable";
import { Contents } from "./contents.js";
import { fork } from "./fork.js";
import { Kernel } from "./model-kernel.js";
import { NamedRandom } from "./random.js";
import type { KernelDesign, MachineSize } from "./tables.js";
import { VirtualClock } from "./virtual-clock.js";

/** First address of the address space; any value but 0 will do. */
const FIRST_ADDRESS = 2 ** 32;
/** Mappings begin on a multiple of 64 KiB, as the memory port promises, and not always on a huge page. */
const GRANULE_PAGES = 16;

export class Machine extends Kernel {
  readonly clock = new VirtualClock();
  readonly random: NamedRandom;
  readonly contents: Contents;
  readonly #addresses = new WeakMap<ArrayBufferLike, number>();
  #nextPage = GRANULE_PAGES;

  readonly #withBytes: boolean;

  constructor(size: MachineSize, design: KernelDesign, seed: number, withBytes: boolean) {
    super(size, design);
    this.#withBytes = withBytes;
    this.random = new NamedRandom(seed);
    this.contents = new Contents(this);
  }

  pageAt(address: number): number {
    return Math.floor((address - FIRST_ADDRESS) / PAGE_BYTES);
  }

  addressOf(page: number): number {
    return FIRST_ADDRESS + page * PAGE_BYTES;
  }

  /**
   * Allocates the buffer behind a program's views of new memory. Without bytes, it's a growable SharedArrayBuffer,
   * whose pages are neither cleared nor allocated before they are touched.
   */
  newMemory(bytes: number): ArrayBufferLike {
    return this.#withBytes ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes, { maxByteLength: bytes });
  }

  /** Maps new anonymous memory and returns its address. No address is used twice. */
  mapMemory(memory: ArrayBufferLike): number {
    const first = this.#nextPage;
    const pages = memory.byteLength / PAGE_BYTES;
    invariant("STATE", first + pages <= this.size.pages, "the machine's address space is used up");
    this.#nextPage = Math.ceil((first + pages + 1) / GRANULE_PAGES) * GRANULE_PAGES;
    for (let page = first; page < first + pages; page++) this.memory.mmap(page);
    if (this.#withBytes) this.contents.attach(first, memory);
    this.#addresses.set(memory, this.addressOf(first));
    return this.addressOf(first);
  }

  /** True if a child process shares any of these pages. */
  anyShared(firstPage: number, pages: number): boolean {
    for (let page = firstPage; this.size.processes !== undefined && page < firstPage + pages; page++)
      if (this.tables.isShared(page)) return true;
    return false;
  }

  /** Forks the program; `child` is the number of the new process (fork.ts). */
  fork(child: number): number {
    if (this.#withBytes) this.contents.noticeAll();
    return fork(this, 0, child);
  }

  /** Address of a view of mapped memory. */
  addressOfView(view: ArrayBufferView): number {
    const address = this.#addresses.get(view.buffer);
    invariant("STATE", address !== undefined, "the view isn't of the machine's memory");
    return address + view.byteOffset;
  }
}
