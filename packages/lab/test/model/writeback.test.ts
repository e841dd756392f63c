// What the kernel's writeback and device writes into a mapping of a file do to each other, in every order of their steps: each harm that
// was measured on real kernels, with the control that doesn't have it (the device writes into anonymous memory, and the program copies).
import assert from "node:assert/strict";
import { test } from "node:test";
import { everyOrder, type Step } from "../../../pinless/dist-test/support/orders.js";
import { WAIT } from "../../dist/model/address-space.js";
import { MachineIo } from "../../dist/model/block-device-io.js";
import {
  BLOCK_CHECKSUM,
  BLOCK_CONTENT,
  type Design,
  FILESYSTEMS,
  inFile,
  REQUEST_RELEASING,
  REQUEST_STATE,
} from "../../dist/model/tables.js";
import { msyncSteps } from "../../dist/model/writeback.js";

const OLD = 7;
const NEW = 100;
/** The page of the file that is mapped, one of another file that is read from, and one that becomes a snapshot of the first. */
const MAPPED = 0;
const SOURCE = 1;
const SNAPSHOT = 2;
/** The mapping, and anonymous memory. */
const PAGE = 0;
const ANONYMOUS = 1;

type Filesystem = keyof typeof FILESYSTEMS;
type Way = "straight" | "registered" | "copied";

function machine(design: Design, filesystem: Filesystem): MachineIo {
  const size = { frames: 8, pages: 2, swapSlots: 1, blocks: 6, bufferSlots: 1, bufferPages: 1 };
  const on = new MachineIo({ ...size, requests: 2, requestPages: 1, inodePages: 3 }, design);
  for (const inodePage of [MAPPED, SOURCE, SNAPSHOT]) on.extendFile(inodePage, FILESYSTEMS[filesystem]);
  on.preallocate(SOURCE);
  on.setBlock(on.blockOf(SOURCE), BLOCK_CONTENT, NEW);
  on.setBlock(on.blockOf(SOURCE), BLOCK_CHECKSUM, NEW);
  on.mmap(ANONYMOUS);
  on.mapFile(PAGE, MAPPED);
  assert.equal(on.store(PAGE, OLD), 0);
  return on;
}

function done(result: number): boolean {
  assert.ok(result === 0 || result === WAIT, `errno ${-result}`);
  return result === 0;
}

interface Reading {
  /** What the program does; `release` is the kernel's, later. */
  readonly program: readonly Step[];
  readonly release: Step;
}

/** Reads into the mapping, one way or another. */
function read(on: MachineIo, way: Way): Reading {
  let request = -1;
  if (way === "registered") assert.equal(on.register(0, PAGE, 1), 0);
  const firstPage = way === "copied" ? ANONYMOUS : PAGE;
  const bufferSlot = way === "registered" ? 0 : -1;
  const submit = (): boolean => {
    const answer = on.submit({ write: false, firstPage, pages: 1, block: inFile(SOURCE), bufferSlot });
    if (answer >= 0) request = answer;
    return answer >= 0 || done(answer);
  };
  const complete = (): boolean => {
    on.complete(request);
    return true;
  };
  const copy = (): boolean => way !== "copied" || done(on.store(PAGE, on.load(ANONYMOUS)));
  const release = (): boolean => {
    if (request < 0 || on.request(request, REQUEST_STATE) < REQUEST_RELEASING) return false;
    on.release(request);
    return true;
  };
  return { program: [submit, () => on.serve(request), complete, copy], release };
}

function writeback(on: MachineIo): readonly Step[] {
  return msyncSteps(on, MAPPED);
}

function writeBackAll(on: MachineIo): void {
  for (const step of writeback(on)) assert.ok(step());
}

/** In how many ways a program finds on the disk, after its read and its msync have returned, what isn't right. */
function afterMsync(
  design: Design,
  filesystem: Filesystem,
  way: Way,
  flusher: "a flusher beside it" | "no flusher",
): { stale: number; corrupt: number } {
  const on = machine(design, filesystem);
  const found = { stale: 0, corrupt: 0 };
  const { program, release } = read(on, way);
  const look = (): boolean => {
    if (on.isCorrupt(MAPPED)) found.corrupt++;
    if (on.block(on.blockOf(MAPPED), BLOCK_CONTENT) !== NEW) found.stale++;
    return true;
  };
  const actors = [[...program, ...writeback(on), look], [release], flusher === "no flusher" ? [] : writeback(on)];
  const orders = everyOrder(on.words, actors, () => {
    // What was marked dirty late is written in the end.
    writeBackAll(on);
    assert.equal(on.block(on.blockOf(MAPPED), BLOCK_CONTENT), NEW);
    assert.equal(on.isCorrupt(MAPPED), false);
  });
  assert.ok(orders > 1);
  return found;
}

/** In how many orders a snapshot that is made of the file isn't what it was when it was made. */
function overwrittenSnapshots(design: Design, filesystem: Filesystem, way: Way): number {
  const on = machine(design, filesystem);
  const { program, release } = read(on, way);
  let made = 0;
  let overwritten = 0;
  const clone = (): boolean => {
    // Dirty again since.
    if (on.isDirty(MAPPED) && !writeback(on).every((step) => step())) return false;
    if (!done(on.clone(MAPPED, SNAPSHOT))) return false;
    made = on.contentOfInode(SNAPSHOT);
    return true;
  };
  everyOrder(on.words, [program, [release], [...writeback(on), clone]], () => {
    writeBackAll(on);
    if (on.contentOfInode(SNAPSHOT) !== made) overwritten++;
    assert.equal(on.contentOfInode(MAPPED), NEW);
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

test("a snapshot of a file on xfs is overwritten by what a device writes straight into a mapping of it", () => {
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
