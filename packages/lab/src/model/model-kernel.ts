/** The model kernel, composed of its parts over one array of words. Each part documents its own calls. */

import { AddressSpace } from "./address-space.js";
import { BlockDevice } from "./block-device.js";
import { Frames } from "./frames.js";
import { PageCache } from "./page-cache.js";
import { PageTables } from "./page-tables.js";
import type { KernelDesign, MachineSize } from "./tables.js";
import { Writeback } from "./writeback.js";

export class Kernel {
  readonly size: MachineSize;
  /** All of the kernel's state. */
  readonly words: Int32Array;
  readonly frames: Frames;
  readonly tables: PageTables;
  readonly cache: PageCache;
  readonly memory: AddressSpace;
  readonly writeback: Writeback;
  readonly disk: BlockDevice;

  /** `words` is zeroed memory for the state; without it the kernel allocates its own. */
  constructor(size: MachineSize, design: KernelDesign, words?: Int32Array) {
    this.size = size;
    this.frames = new Frames(size, design, words);
    this.words = this.frames.words;
    this.tables = new PageTables(this.frames);
    this.cache = new PageCache(this.frames, this.tables);
    this.memory = new AddressSpace(this.frames, this.tables, this.cache);
    this.writeback = new Writeback(this.frames, this.tables, this.cache);
    this.disk = new BlockDevice(this.frames, this.tables, this.memory, this.cache, this.writeback);
  }
}
