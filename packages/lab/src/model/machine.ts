/**
 * A machine: a kernel with virtual time, chance, and the bytes behind its tags. It adds to the kernel, and changes
 * nothing of it.
 */

import { invariant, PAGE_BYTES } from "pinless/portable";
import { Contents } from "./contents.js";
import { fork } from "./fork.js";
import { Kernel } from "./model-kernel.js";
import { NamedRandom } from "./random.js";
import type { KernelDesign, MachineSize } from "./tables.js";
import { VirtualClock } from "./virtual-clock.js";

/** Where its address space begins: anywhere but at 0. */
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
   * What a program's views of new memory are of. Where nobody sees bytes it's the kind that is neither cleared nor
   * there before it's touched.
   */
  newMemory(bytes: number): ArrayBufferLike {
    return this.#withBytes ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes, { maxByteLength: bytes });
  }

  /** New anonymous memory of the process; its address. Addresses aren't used twice. */
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

  /** Whether a child has any of these pages too. */
  anyShared(firstPage: number, pages: number): boolean {
    for (let page = firstPage; this.size.processes !== undefined && page < firstPage + pages; page++)
      if (this.tables.isShared(page)) return true;
    return false;
  }

  /** The program forks (see fork.ts): the child is this process. */
  fork(child: number): number {
    if (this.#withBytes) this.contents.noticeAll();
    return fork(this, 0, child);
  }

  /** Where a view of mapped memory is. */
  addressOfView(view: ArrayBufferView): number {
    const address = this.#addresses.get(view.buffer);
    invariant("STATE", address !== undefined, "the view isn't of the machine's memory");
    return address + view.byteOffset;
  }
}
