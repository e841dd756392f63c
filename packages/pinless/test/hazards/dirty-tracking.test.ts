// Code that tracks which pages of a process are written (for snapshots, migration, garbage collectors) announces that
// by SOFT_DIRTY of engine.notifier. From then on it sees device writes. The control: through a lifetime registration
// devices write unseen.
import assert from "node:assert/strict";
import { closeSync, openSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import koffi from "koffi";
import { userfaultfdSyscall } from "../../dist/abi/numbers.js";
import { Engine } from "../../dist/index.js";
import { fixedMemory } from "../../dist/linux/fixed-memory.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { figure, isColumn } from "../support/figure.js";
import { softDirtyOf } from "../support/pagemap.js";
import { addressOf } from "../support/proc.js";
import { Random } from "../support/random.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { WAYS, type Way } from "./ways.js";

const BYTES = 4 << 20;
const PAGES = BYTES / BLOCK_BYTES;
const BLOCKS = 64;
const READS = 100;

interface Tracker {
  /** From now on it's seen which pages are written. */
  begin(): void;
  written(): boolean[];
}

/** /proc/self/clear_refs and bit 55 of pagemap; null: not in this kernel. */
function softDirty(memory: Uint8Array): Tracker | null {
  const begin = (): void => writeFileSync("/proc/self/clear_refs", "4");
  const one = new Uint8Array(fixedMemory(BLOCK_BYTES), 0, BLOCK_BYTES);
  one[0] = 1;
  begin();
  one[0] = 2;
  if (!softDirtyOf(one)[0]) return null;
  return { begin, written: () => softDirtyOf(memory) };
}

const lib = koffi.load(null);
const syscall = lib.func("long syscall(long number, long flags)");
const ioctl = lib.func("int ioctl(int fd, unsigned long request, void *argument)");

const UFFD_USER_MODE_ONLY = 1;
const UFFDIO_API = 0xc018aa3f;
const UFFDIO_REGISTER = 0xc020aa00;
const UFFDIO_WRITEPROTECT = 0xc018aa06;
const PAGEMAP_SCAN = 0xc0606610;
const FEATURES = (1n << 0n) | (1n << 13n) | (1n << 15n); // PAGEFAULT_FLAG_WP, WP_UNPOPULATED, WP_ASYNC
const PAGE_IS_WRITTEN = 1n << 1n;

/**
 * Write protection by a userfaultfd, which the kernel itself resolves (WP_ASYNC), and PAGEMAP_SCAN; null: not in this
 * kernel.
 */
function writeProtection(t: TestContext, memory: Uint8Array): Tracker | null {
  const fd = syscall(userfaultfdSyscall(process.arch), UFFD_USER_MODE_ONLY);
  if (fd < 0 || ioctl(fd, UFFDIO_API, new BigUint64Array([0xaan, FEATURES, 0n])) < 0) return null;
  const pagemap = openSync("/proc/self/pagemap", "r");
  undoing(t, () => {
    closeSync(pagemap);
    closeSync(fd);
  });
  const range = [BigInt(addressOf(memory)), BigInt(memory.byteLength)] as const;
  const ask = (request: number, ...more: bigint[]): void => {
    if (ioctl(fd, request, new BigUint64Array([...range, ...more])) < 0) throw new Error(`errno ${koffi.errno()}`);
  };
  ask(UFFDIO_REGISTER, 2n, 0n);
  return {
    begin: () => ask(UFFDIO_WRITEPROTECT, 1n),
    written() {
      const regions = new BigUint64Array(3 * PAGES);
      const start = range[0];
      // struct pm_scan_arg: size, flags, start, end, walk_end, vec, vec_len, max_pages, category: inverted, mask, any
      // of, returned.
      const at = BigInt(koffi.address(new Uint8Array(regions.buffer)));
      const argument = [
        96n,
        0n,
        start,
        start + range[1],
        0n,
        at,
        BigInt(PAGES),
        0n,
        0n,
        PAGE_IS_WRITTEN,
        0n,
        PAGE_IS_WRITTEN,
      ];
      const found = ioctl(pagemap, PAGEMAP_SCAN, new BigUint64Array(argument));
      if (found < 0) throw new Error(`PAGEMAP_SCAN: errno ${koffi.errno()}`);
      const written = new Array<boolean>(PAGES).fill(false);
      for (let i = 0; i < found; i++)
        for (let page = regions[3 * i]!; page < regions[3 * i + 1]!; page += 4096n)
          written[Number((page - start) / 4096n)] = true;
      return written;
    },
  };
}

const TRACKERS: Record<string, (t: TestContext, memory: Uint8Array) => Tracker | null> = {
  "soft-dirty bits": (_t, memory) => softDirty(memory),
  "userfaultfd and PAGEMAP_SCAN": writeProtection,
};

/** Number of pages that show as written; and number of pages that were read into. */
async function seen(t: TestContext, { options }: Way, how: string): Promise<readonly [number, number] | null> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  // A range has room for one userfaultfd.
  const engine = await Engine.open({
    ...options,
    depth: 32,
    lease: { idle: 3_600_000, max: 3_600_000 },
    events: { userfaultfd: false, pressure: false },
  });
  try {
    const arena = await engine.arena({ bytes: BYTES });
    const memory = arena.alloc(BYTES);
    const file = await engine.openFile(name);
    const tracker = TRACKERS[how]!(t, memory);
    if (tracker === null) return null;
    const read = async (page: number, block: number): Promise<void> => {
      const bytes = memory.subarray(page * BLOCK_BYTES, (page + 1) * BLOCK_BYTES);
      await file.read(bytes, { position: block * BLOCK_BYTES });
    };
    // All of it has its lease, if there are leases.
    for (let i = 0; i < 3; i++) for (let page = 0; page < PAGES; page += 256) await read(page, 0);
    if (engine.pin === "lease") assert.ok(engine.stats().leases.live > 0);
    const range = { start: addressOf(memory), end: addressOf(memory) + BYTES };
    let ready = (): void => {};
    const begun = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const invalidation = engine.notifier.invalidateRangeStart(range, "SOFT_DIRTY", { ready });
    // Whatever waits meanwhile is seen, too.
    const held = read(1, 1);
    await begun;
    tracker.begin();
    assert.ok(tracker.written().every((written) => !written));
    engine.notifier.invalidateRangeEnd(invalidation);
    await held;
    const random = new Random(1);
    const pages = new Map([[1, 1]]);
    while (pages.size < READS) pages.set(random.below(PAGES), random.below(BLOCKS));
    await Promise.all([...pages].map(([page, block]) => read(page, block)));
    const written = tracker.written();
    for (const [page, block] of pages)
      assert.equal(wrongBlocks(memory.subarray(page * BLOCK_BYTES, (page + 1) * BLOCK_BYTES), block), null);
    return [[...pages.keys()].filter((page) => written[page]).length, pages.size];
  } finally {
    await engine.close();
  }
}

for (const how of Object.keys(TRACKERS)) {
  for (const way of WAYS) {
    const { name, control } = way;
    test(`Device writes after SOFT_DIRTY, ${how}, ${name}: ${control ? "unseen (control)" : "all seen"}`, async (t) => {
      const result = await seen(t, way, how);
      if (result === null) return t.skip(`machine: no ${how} in this kernel`);
      const [count, of] = result;
      assert.equal(count, control ? 0 : of);
      const harm = `pages that a device wrote and that ${how} show, of ${of}`;
      if (isColumn(name)) figure(t, harm, name, String(count));
    });
  }
}
