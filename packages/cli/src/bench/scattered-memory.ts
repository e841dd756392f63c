/**
 * Controls where the kernel allocates this process's memory. Only the bench uses it, to lay memory out badly on
 * purpose.
 */

import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { addressOf, loadLibc, PAGE_BYTES, PRCTL, prctl, setAffinity } from "pinless/internal";

/**
 * Forbids this process transparent huge pages, even if transparent_hugepage/enabled is "always". Existing ones stay. A
 * refusal is ignored.
 */
export async function forbidHugePages(): Promise<void> {
  await loadLibc();
  prctl(PRCTL.PR_SET_THP_DISABLE, 1);
}

export async function allowHugePages(): Promise<void> {
  await loadLibc();
  prctl(PRCTL.PR_SET_THP_DISABLE, 0);
}

/**
 * Pins this thread, and threads that it starts later, to one processor. Each processor keeps freed pages for itself (up
 * to an eighth of a zone), so that another one wouldn't allocate them next. False if the kernel refused.
 */
export async function stayOnOneProcessor(): Promise<boolean> {
  await loadLibc();
  const allowed = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return setAffinity(Number(allowed)) === 0;
}

const PAGEMAP_ENTRY_BYTES = 8;
const BLOCK_PAGES = (2 << 20) / PAGE_BYTES;

/**
 * Number of 2 MiB areas of physical memory that contain pages of a view; 0 without root, who alone sees page frame
 * numbers.
 */
export function blocksOf(view: Uint8Array): number {
  const firstPage = Math.floor((addressOf(view.buffer) + view.byteOffset) / PAGE_BYTES);
  const bytes = new Uint8Array(Math.ceil(view.byteLength / PAGE_BYTES) * PAGEMAP_ENTRY_BYTES);
  const fd = openSync("/proc/self/pagemap", "r");
  try {
    let at = 0;
    for (let got = -1; got !== 0 && at < bytes.length; at += got)
      got = readSync(fd, bytes, at, bytes.length - at, firstPage * PAGEMAP_ENTRY_BYTES + at);
  } finally {
    closeSync(fd);
  }
  const words = new Uint32Array(bytes.buffer);
  const blocks = new Set<number>();
  for (let i = 0; i < words.length; i += 2) {
    // Bits 0 to 54 are the page frame number; bit 63 says that the page is present.
    const frame = (words[i + 1]! & 0x7fffff) * 2 ** 32 + words[i]!;
    if (words[i + 1]! >>> 31 === 1 && frame !== 0) blocks.add(Math.floor(frame / BLOCK_PAGES));
  }
  return blocks.size;
}
