// The kernel's writeback beside device writes into a mapping of a file, in every order of their steps: each harm that
// was measured on real kernels, with a control that doesn't have it (the device writes into anonymous memory, and the
// program copies).
import assert from "node:assert/strict";
import { test } from "node:test";
import { everyOrder, type Step } from "../../../pinless/dist-test/support/orders.js";
import { Kernel } from "../../dist/model/model-kernel.js";
import { msyncSteps } from "../../dist/model/msync-steps.js";
import { WAIT } from "../../dist/model/page-tables.js";
import {
  BLOCK_CHECKSUM,
  BLOCK_CONTENT,
  FILESYSTEMS,
  inFile,
  type KernelDesign,
  REQUEST_RELEASING,
  REQUEST_STATE,
} from "../../dist/model/tables.js";

const OLD = 7;
const NEW = 100;
/**
 * The page of the file that is mapped, one of another file that is read from, and one that becomes a snapshot of the
 * first.
 */
const MAPPED = 0;
const SOURCE = 1;
const SNAPSHOT = 2;
/** The mapping, and anonymous memory. */
const PAGE = 0;
const ANONYMOUS = 1;

type Filesystem = keyof typeof FILESYSTEMS;
type Way = "straight" | "registered" | "copied";

function machine(design: KernelDesign, filesystem: Filesystem): Kernel {
  const size = { frames: 8, pages: 2, swapSlots: 1, blocks: 6, bufferSlots: 1, bufferPages: 1 };
  const on = new Kernel({ ...size, requests: 2, requestPages: 1, inodePages: 3 }, design);
  for (const inodePage of [MAPPED, SOURCE, SNAPSHOT]) on.cache.extendFile(inodePage, FILESYSTEMS[filesystem]);
  on.cache.preallocate(SOURCE);
  on.cache.setBlock(on.cache.blockOf(SOURCE), BLOCK_CONTENT, NEW);
  on.cache.setBlock(on.cache.blockOf(SOURCE), BLOCK_CHECKSUM, NEW);
  on.memory.mmap(ANONYMOUS);
  on.memory.mapFile(PAGE, MAPPED);
  assert.equal(on.memory.store(PAGE, OLD), 0);
  return on;
}

function done(result: number): boolean {
  assert.ok(result === 0 || result === WAIT, `errno ${-result}`);
  return result === 0;
}

interface Reading {
  /** Steps of the program; `release` is a later step of the kernel. */
  readonly program: readonly Step[];
  readonly release: Step;
}

/** Reads into the mapping, one way or another. */
function read(on: Kernel, way: Way): Reading {
  let request = -1;
  if (way === "registered") assert.equal(on.disk.register(0, PAGE, 1), 0);
  const firstPage = way === "copied" ? ANONYMOUS : PAGE;
  const bufferSlot = way === "registered" ? 0 : -1;
  const submit = (): boolean => {
    const answer = on.disk.submit({ write: false, firstPage, pages: 1, block: inFile(SOURCE), bufferSlot });
    if (answer >= 0) request = answer;
    return answer >= 0 || done(answer);
  };
  const complete = (): boolean => {
    on.disk.complete(request);
    return true;
  };
  const copy = (): boolean => way !== "copied" || done(on.memory.store(PAGE, on.memory.load(ANONYMOUS)));
  const release = (): boolean => {
    if (request < 0 || on.disk.request(request, REQUEST_STATE) < REQUEST_RELEASING) return false;
    on.disk.release(request);
    return true;
  };
  return { program: [submit, () => on.disk.serve(request), complete, copy], release };
}

function writeback(on: Kernel): readonly Step[] {
  return msyncSteps(on, MAPPED);
}

function writeBackAll(on: Kernel): void {
  for (const step of writeback(on)) assert.ok(step());
}

/** In how many ways a program finds on the disk, after its read and its msync have returned, what isn't right. */
function afterMsync(
  design: KernelDesign,
  filesystem: Filesystem,
  way: Way,
  flusher: "a flusher beside it" | "no flusher",
): { stale: number; corrupt: number } {
  const on = machine(design, filesystem);
  const found = { stale: 0, corrupt: 0 };
  const { program, release } = read(on, way);
  const look = (): boolean => {
    if (on.cache.isCorrupt(MAPPED)) found.corrupt++;
    if (on.cache.block(on.cache.blockOf(MAPPED), BLOCK_CONTENT) !== NEW) found.stale++;
    return true;
  };
  const actors = [[...program, ...writeback(on), look], [release], flusher === "no flusher" ? [] : writeback(on)];
  const orders = everyOrder(on.words, actors, () => {
    // What was marked dirty late is written in the end.
    writeBackAll(on);
    assert.equal(on.cache.block(on.cache.blockOf(MAPPED), BLOCK_CONTENT), NEW);
    assert.equal(on.cache.isCorrupt(MAPPED), false);
  });
  assert.ok(orders > 1);
  return found;
}

/** In how many orders a snapshot that is made of the file isn't what it was when it was made. */
function overwrittenSnapshots(design: KernelDesign, filesystem: Filesystem, way: Way): number {
  const on = machine(design, filesystem);
  const { program, release } = read(on, way);
  let made = 0;
  let overwritten = 0;
  const clone = (): boolean => {
    // Dirty again since.
    if (on.cache.isDirty(MAPPED) && !writeback(on).every((step) => step())) return false;
    if (!done(on.cache.clone(MAPPED, SNAPSHOT))) return false;
    made = on.cache.contentOfInode(SNAPSHOT);
    return true;
  };
  everyOrder(on.words, [program, [release], [...writeback(on), clone]], () => {
    writeBackAll(on);
    if (on.cache.contentOfInode(SNAPSHOT) !== made) overwritten++;
    assert.equal(on.cache.contentOfInode(MAPPED), NEW);
  });
  return overwritten;
}

for (const flusher of ["a flusher beside it", "no flusher"] as const) {
  for (const filesystem of ["ext4", "xfs", "btrfs"] as const) {
    const named = (rest: string): string => `msync on ${filesystem}, ${flusher}: ${rest}`;
    const harmed = flusher === "a flusher beside it";

    test(
      named(`what a device wrote straight into the mapping ${harmed ? "isn't always on the disk" : "is on the disk"}`),
      () => {
        const { stale, corrupt } = afterMsync("gup", filesystem, "straight", flusher);
        assert.equal(stale > 0, harmed);
        if (filesystem !== "btrfs") assert.equal(corrupt, 0);
        else assert.equal(corrupt > 0, harmed, "no checksum is wrong");
      },
    );

    test(named("what was read into anonymous memory and copied is on the disk"), () => {
      for (const design of ["gup", "notifier"] as const)
        assert.deepEqual(afterMsync(design, filesystem, "copied", flusher), { stale: 0, corrupt: 0 });
    });

    test(named("the proposal: what a device wrote straight into the mapping is on the disk, registered or not"), () => {
      for (const way of ["straight", "registered"] as const)
        assert.deepEqual(afterMsync("notifier", filesystem, way, flusher), { stale: 0, corrupt: 0 });
    });
  }
}

test("a snapshot of a file on xfs is overwritten by a device write straight into a mapping of the file", () => {
  assert.ok(overwrittenSnapshots("gup", "xfs", "straight") > 0);
  assert.equal(overwrittenSnapshots("gup", "xfs", "copied"), 0);
  assert.equal(
    overwrittenSnapshots("gup", "btrfs", "straight"),
    0,
    "what is never written in place can't be overwritten",
  );
  for (const way of ["straight", "registered", "copied"] as const)
    assert.equal(overwrittenSnapshots("notifier", "xfs", way), 0, way);
});
