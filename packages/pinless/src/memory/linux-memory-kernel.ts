/** The memory operations on Linux, where every call blocks its thread until it's done. */

import { readFileSync } from "node:fs";
import { FCNTL, MMAN, PRCTL } from "../abi/numbers.js";
import {
  cloneRange,
  copyFileRange,
  fallocate,
  madvise,
  mapOver,
  movePages,
  mprotect,
  msync,
  prctl,
  setLock,
} from "../linux/libc.js";
import { sleep } from "../linux/sleep.js";
import { invariant } from "../protocol/assert.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { dataRanges } from "./data-ranges.js";
import { extendFile } from "./file-extension.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";
import { leftIn, mappingFlags, presentPages } from "./pagemap.js";

const READ_WRITE = MMAN.PROT_READ | MMAN.PROT_WRITE;
const ANONYMOUS = MMAN.MAP_PRIVATE | MMAN.MAP_ANONYMOUS | MMAN.MAP_NORESERVE;
const LOCK_TYPES = { shared: FCNTL.F_RDLCK, exclusive: FCNTL.F_WRLCK, none: FCNTL.F_UNLCK };

export const linuxMemoryKernel: MemoryKernel = {
  hugePageBytes: readHugePageBytes(),
  nowMs: () => performance.now(),
  sleep: (ms) => after(() => sleep(ms)),
  madvise: ({ start, end }, advice) => after(() => madvise(start, end - start, advice)),
  mprotect: ({ start, end }, protection) => after(() => mprotect(start, end - start, protection)),
  mapOver: ({ start, end }, file) =>
    after(() =>
      file === null
        ? mapOver(start, end - start, READ_WRITE, ANONYMOUS, -1, 0)
        : mapOver(start, end - start, READ_WRITE, MMAN.MAP_SHARED, file.fd, file.position),
    ),
  msync: ({ start, end }) => after(() => msync(start, end - start, MMAN.MS_SYNC)),
  extendFile: (fd, bytes) => after(() => extendFile(fd, bytes)),
  fallocate: (fd, mode, position, bytes) => after(() => fallocate(fd, mode, position, bytes)),
  copyRange: (from, to, bytes, clone) => after(() => (clone ? cloneRange : copyFileRange)(from, to, bytes)),
  dataRanges: (fd, range, most) => after(() => dataRanges(fd, range, most)),
  setLock: (fd, { start, end }, kind) =>
    after(() => setLock(fd, LOCK_TYPES[kind], start, end === Number.POSITIVE_INFINITY ? 0 : end - start)),
  movePages: (pages, node, status) => after(() => movePages(pages, node, status)),
  touch(pages) {
    // A load maps pages again that NUMA balancing has hidden.
    for (const page of presentPages(pages)) madvise(page, PAGE_BYTES, MMAN.MADV_POPULATE_READ);
  },
  leftIn,
  explainNoHugePage,
};

/** Runs an operation to its end, on the calling thread. */
export function runBlocking<Result>(steps: Steps<Result>): Result {
  const step = steps.next();
  invariant("STATE", step.done === true, "a memory operation on Linux waits for a promise");
  return step.value;
}

// biome-ignore lint/correctness/useYield: the call blocks the thread itself
function* after<Result>(call: () => Result): Steps<Result> {
  return call();
}

/** Explains a refusal by what can be observed, because the kernel uses the same errno for several causes. */
function explainNoHugePage(piece: Range): string | null {
  if (prctl(PRCTL.PR_GET_THP_DISABLE, 0) > 0)
    return "huge pages are switched off for this process: prctl(PR_SET_THP_DISABLE, 0) allows them";
  const flags = mappingFlags(piece);
  if (flags.includes("nh"))
    return "other code has advised against huge pages there (MADV_NOHUGEPAGE): madvise(MADV_HUGEPAGE) undoes it";
  if (flags.length > 0 && !flags.includes("rd"))
    return "other code has made the memory inaccessible (PROT_NONE): mprotect it readable first";
  return null;
}

function readHugePageBytes(): number {
  try {
    return Number(readFileSync("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "utf8"));
  } catch {
    return 2 << 20;
  }
}
