/** Test bed for rows about frames and page tables: a small machine, and reads into all of its memory. */

import { Kernel } from "../../model/model-kernel.js";
import { BLOCK_CONTENT } from "../../model/tables.js";

/** Content of the memory at first, and of the first disk block. */
const OLD = 7;
export const NEW = 1000;

/** Makes a process with a number of pages, each stored to, and a disk with other contents. */
export function machine(pages: number, requestPages: number): Kernel {
  const on = new Kernel(
    {
      frames: 3 * pages,
      pages,
      swapSlots: pages,
      blocks: pages,
      bufferSlots: 1,
      bufferPages: pages,
      requests: 1,
      requestPages,
    },
    "gup",
  );
  for (let page = 0; page < pages; page++) {
    on.memory.mmap(page);
    on.memory.store(page, OLD);
    on.cache.setBlock(page, BLOCK_CONTENT, NEW + page);
  }
  return on;
}

export function counted(pages: number, does: (page: number) => boolean): number {
  let found = 0;
  for (let page = 0; page < pages; page++) if (does(page)) found++;
  return found;
}

export const BLOCKS = 1024;

/** Reads the disk into all pages, by the registration in slot 0 or without one. */
export function readAll(on: Kernel, registered: boolean): void {
  const request = on.disk.submit({
    write: false,
    firstPage: 0,
    pages: BLOCKS,
    block: 0,
    bufferSlot: registered ? 0 : -1,
  });
  while (!on.disk.serve(request));
  on.disk.complete(request);
  on.disk.release(request);
}

export function lost(on: Kernel): number {
  return counted(BLOCKS, (page) => on.memory.load(page) !== NEW + page);
}
