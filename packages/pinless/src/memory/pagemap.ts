/**
 * Reads the page tables through /proc/self/pagemap, which a process can read for its own memory, unless it has changed
 * its user.
 */

import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { movePages } from "../linux/libc.js";
import { EFAULT } from "../protocol/errno.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { pagesOf } from "./operation-pieces.js";

const ENTRY_BYTES = 8;
/** Bits 63, 61 and 56 of an entry, in its highest byte. */
const PRESENT = 0x80;
const OF_FILE = 0x20;
const EXCLUSIVE = 0x01;

/** Highest byte of each page's entry. */
function entries(range: Range): Uint8Array {
  let fd: number;
  try {
    fd = openSync("/proc/self/pagemap", "r");
  } catch {
    return residency(range);
  }
  const bytes = new Uint8Array(pagesOf(range) * ENTRY_BYTES);
  try {
    readSync(fd, bytes, 0, bytes.length, (range.start / PAGE_BYTES) * ENTRY_BYTES);
  } finally {
    closeSync(fd);
  }
  return bytes.filter((_, i) => i % ENTRY_BYTES === ENTRY_BYTES - 1);
}

/**
 * Entries made from mincore(2), which needs no file (after setuid, without /proc or descriptors) but tells only which
 * pages are in memory.
 */
function residency(range: Range): Uint8Array {
  const pages = Array.from({ length: pagesOf(range) }, (_, i) => range.start + i * PAGE_BYTES);
  const where = nodesOf(pages);
  return Uint8Array.from(pages, (_, i) => (where === null || where[i]! >= 0 ? PRESENT | EXCLUSIVE : 0));
}

/**
 * Status of pages by move_pages: a node, ENOENT if it isn't in memory, EFAULT for the shared zero page; null if the
 * call is forbidden.
 */
function nodesOf(pages: readonly number[]): Int32Array | null {
  const where = new Int32Array(pages.length);
  return movePages(pages, null, where) < 0 ? null : where;
}

/**
 * Counts pages of the range in memory: `held` are a file's or only this process's, `shared` are also another process's,
 * or merged by KSM. The shared zero page, which a split huge zero page maps, counts as neither, since it takes no
 * memory.
 */
export function leftIn(range: Range): { held: number; shared: number } {
  let held = 0;
  const others: number[] = [];
  for (const [i, entry] of entries(range).entries()) {
    if ((entry & PRESENT) === 0) continue;
    if ((entry & (EXCLUSIVE | OF_FILE)) !== 0) held++;
    else others.push(range.start + i * PAGE_BYTES);
  }
  if (others.length === 0) return { held, shared: 0 };
  const where = nodesOf(others);
  const shared = where === null ? others.length : where.filter((node) => node !== -EFAULT).length;
  return { held, shared };
}

/** Those of the pages that are in memory; all are within one piece. */
export function presentPages(pages: readonly number[]): readonly number[] {
  const start = Math.min(...pages);
  const found = entries({ start, end: Math.max(...pages) + PAGE_BYTES });
  return pages.filter((page) => (found[(page - start) / PAGE_BYTES]! & PRESENT) !== 0);
}

/**
 * VmFlags in smaps of the mapping that contains the start of the range, two letters a flag
 * (Documentation/filesystems/proc.rst); empty if it can't be read.
 */
export function mappingFlags({ start }: Range): readonly string[] {
  let text: string;
  try {
    text = readFileSync("/proc/self/smaps", "latin1");
  } catch {
    return [];
  }
  let inside = false;
  for (const line of text.split("\n")) {
    const bounds = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (bounds !== null) inside = start >= Number(`0x${bounds[1]}`) && start < Number(`0x${bounds[2]}`);
    else if (inside && line.startsWith("VmFlags:")) return line.slice("VmFlags:".length).trim().split(" ");
  }
  return [];
}
