/** The model's kernel with two files, the first of them mapped, and what tests of files do with it. */

import assert from "node:assert/strict";
import { Kernel } from "../../dist/model/model-kernel.js";
import { BLOCK_CONTENT, FILESYSTEMS, inFile, type KernelDesign } from "../../dist/model/tables.js";
import { finish } from "./requests.js";

export const FILE_PAGES = 4;
/** The first pages of two files, and of memory: mappings of the first file, and anonymous memory. */
export const ONE = 0;
export const OTHER = 4;
export const MAPPED = 0;
export const ANONYMOUS = 4;

export type Filesystem = (typeof FILESYSTEMS)[keyof typeof FILESYSTEMS];

/** Two files, the first mapped, of contents 100 to 103 and 104 to 107; of their blocks there are 4 left. */
export function machine(filesystem: number, design: KernelDesign = "gup"): Kernel {
  const size = { frames: 16, pages: 12, swapSlots: 4, blocks: 12, bufferSlots: 1, bufferPages: 4 };
  const on = new Kernel({ ...size, requests: 4, requestPages: 4, inodePages: 8 }, design);
  for (let inodePage = 0; inodePage < 8; inodePage++) on.cache.extendFile(inodePage, filesystem);
  for (let page = ANONYMOUS; page < size.pages; page++) on.memory.mmap(page);
  for (let i = 0; i < 8; i++) {
    on.memory.store(ANONYMOUS, 100 + i);
    finish(on, on.disk.submit(writeFrom(ANONYMOUS, i)));
  }
  for (let i = 0; i < FILE_PAGES; i++) on.memory.mapFile(MAPPED + i, ONE + i);
  return on;
}

/** A request of one page, or more, from a file's page on: into memory, or from memory. */
export function readInto(firstPage: number, inodePage: number, pages = 1) {
  return { write: false, firstPage, pages, block: inFile(inodePage), bufferSlot: -1 };
}

export function writeFrom(firstPage: number, inodePage: number, pages = 1) {
  return { ...readInto(firstPage, inodePage, pages), write: true };
}

export function writeBack(on: Kernel, inodePage: number): void {
  assert.equal(on.writeback.begin(inodePage), 0);
  on.writeback.serve(inodePage);
  on.writeback.end(inodePage);
}

export function writeBackIfDirty(on: Kernel, inodePage: number): void {
  if (on.cache.isDirty(inodePage)) writeBack(on, inodePage);
}

export function onDisk(on: Kernel, inodePage: number): number {
  return on.cache.block(on.cache.blockOf(inodePage), BLOCK_CONTENT);
}

export const EVERY = Object.entries(FILESYSTEMS) as [string, Filesystem][];
