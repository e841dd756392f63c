// A mapping of a file as the buffer: its pages belong to a filesystem, which writes them back whenever it likes, and
// counts on hearing of every store. A device that writes straight into them (the control) isn't heard: pinless never
// has it do so.
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { closeSync, constants, fsyncSync, openSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import koffi from "koffi";
import { openDirectFlag } from "../../dist/abi/numbers.js";
import { Engine } from "../../dist/index.js";
import { disk, needsRoot } from "../support/disks.js";
import { addressOf } from "../support/proc.js";
import { Random } from "../support/random.js";
import { RawReads } from "../support/raw-reads.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const MIB = 1 << 20;
const PAGE = 4096;
const SECTOR_BYTES = 512;
const BYTES = 8 * MIB;
const READ_BYTES = 256 * 1024;
const VERSIONS = 4;
/** Maximum time for a control to show the harm, which depends on chance. Seen: 0.1 to 4 s. */
const CONTROL_MS = 20_000;
const SYNC_FILE_RANGE_WRITE = 2;
const MS_SYNC = 4;
const FICLONE = 0x40049409;

const lib = koffi.load(null);
const syncFileRange = lib.func("int sync_file_range(int fd, int64_t offset, int64_t bytes, uint32_t flags)");
const msync = lib.func("int msync(uintptr_t address, size_t bytes, int flags)");
const ioctl = lib.func("int ioctl(int fd, unsigned long request, int argument)");

type Read = (view: Uint8Array, position: number) => Promise<unknown>;

interface Bed {
  /** A mapping of all of `file`, on the filesystem in question. */
  readonly memory: Uint8Array;
  readonly file: string;
  readonly fd: number;
  /** Reads of one source, on another disk: straight into the mapping, and as pinless does it. */
  readonly raw: Read;
  readonly ours: Read;
  writeback(): Promise<unknown>;
}

function needs(filesystem: string, ...others: string[]): string | false {
  if (needsRoot !== false) return needsRoot;
  const known = new RegExp(`\\b${filesystem}$`, "m").test(readFileSync("/proc/filesystems", "utf8"));
  if (!known && spawnSync("modprobe", ["-q", filesystem]).status !== 0)
    return `machine: no ${filesystem} in this kernel`;
  const commands = [`mkfs.${filesystem}`, ...others];
  const missing = commands.find((command) => spawnSync(command, ["-V"]).error !== undefined);
  return missing !== undefined && `machine: no ${missing}`;
}

/** No page of it is like another. */
function content(bytes: number, seed: number): Uint8Array {
  const words = new Uint32Array(bytes / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1 + (seed << 24), 0x9e3779b1) ^ seed;
  return new Uint8Array(words.buffer);
}

async function bed(t: TestContext, mount: string): Promise<Bed> {
  const source = path.join(scratchDirectory(t), "source");
  writeFileSync(source, content(VERSIONS * BYTES, 1));
  const file = path.join(mount, "target");
  writeFileSync(file, content(BYTES, 2));
  const fd = openSync(file, "r+");
  undoing(t, () => closeSync(fd));
  fsyncSync(fd);
  const engine = await Engine.open({ depth: 64 });
  undoing(t, () => engine.close());
  const arena = await engine.arena({ file });
  const straight = await RawReads.open(source);
  undoing(t, () => straight.close());
  const reader = await engine.openFile(source);
  return {
    memory: arena.view(0, BYTES),
    file,
    fd,
    raw: (view, position) => straight.read(view, position),
    ours: (view, position) => reader.read(view, { position }),
    writeback: () => arena.writeback(),
  };
}

/** Reads all of the mapping anew, after its faults, and backward: writeback goes the other way and is there first. */
function readAll(memory: Uint8Array, read: Read, version: number): Promise<unknown> {
  for (let at = 0; at < BYTES; at += PAGE) memory[at] = memory[at]!;
  const reads: Promise<unknown>[] = [];
  for (let at = BYTES - READ_BYTES; at >= 0; at -= READ_BYTES)
    reads.push(read(memory.subarray(at, at + READ_BYTES), version * BYTES + at));
  return Promise.all(reads);
}

/** Has the control go on until it has shown the harm; then pinless, `rounds` times, must not. */
async function compare(
  what: string,
  t: TestContext,
  rounds: number,
  round: (read: "raw" | "ours") => Promise<number>,
): Promise<void> {
  const begin = performance.now();
  let controls = 0;
  let harm = 0;
  for (; harm === 0 && performance.now() - begin < CONTROL_MS; controls++) harm = await round("raw");
  for (let i = 0; i < rounds; i++) assert.equal(await round("ours"), 0, what);
  t.diagnostic(`${what}: ${harm} in round ${controls} of the control, 0 in ${rounds} of ours`);
  if (harm === 0) t.skip(`machine: its kernel and disks show nothing of it in ${CONTROL_MS} ms`);
}

function differingPages(a: Uint8Array, b: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < BYTES; at += PAGE)
    if (Buffer.compare(a.subarray(at, at + PAGE), b.subarray(at, at + PAGE)) !== 0) count++;
  return count;
}

/** Reads around the page cache. */
function readDirect(of: string, position: number): Uint8Array {
  const room = new Uint8Array(BYTES + PAGE);
  const begin = PAGE - (addressOf(room) % PAGE);
  const view = room.subarray(begin, begin + BYTES);
  const fd = openSync(of, constants.O_RDONLY | openDirectFlag(process.arch));
  try {
    assert.equal(readSync(fd, view, 0, BYTES, position), BYTES);
  } finally {
    closeSync(fd);
  }
  return view;
}

/** Offset of a file, which is in one piece, on its device. */
function placeOnDevice(file: string): number {
  const said = execFileSync("filefrag", ["-v", `-b${SECTOR_BYTES}`, file], { encoding: "utf8" });
  const extents = [...said.matchAll(/^ *\d+: +(\d+)\.\. +\d+: +(\d+)\.\./gm)].map(([, logical, physical]) => [
    Number(logical),
    Number(physical),
  ]);
  const [, first] = extents[0]!;
  for (const [logical, physical] of extents) assert.equal(physical, first! + logical!, `not in one piece: ${said}`);
  return first! * SECTOR_BYTES;
}

for (const filesystem of ["ext4", "xfs"] as const) {
  const skip = needs(filesystem, "filefrag");
  test(`${filesystem}: after writeback() the device has the bytes that were read, with or without a flusher`, {
    skip,
  }, async (t) => {
    const { device, mount } = disk(t, filesystem, 320 * MIB, "memory");
    const { memory, file, fd, writeback, ...reads } = await bed(t, mount);
    const location = placeOnDevice(file);
    let version = 0;
    await compare(`${filesystem}: pages that msync left behind`, t, 10, async (how) => {
      const reading = readAll(memory, reads[how], version++ % VERSIONS);
      // As the flusher does.
      assert.equal(syncFileRange(fd, 0, BYTES, SYNC_FILE_RANGE_WRITE), 0);
      await reading;
      // At once: a moment later the kernel has marked all pages dirty that the device wrote.
      if (how === "raw") assert.equal(msync(addressOf(memory), BYTES, MS_SYNC), 0);
      else await writeback();
      return differingPages(readDirect(device, location), memory);
    });
  });
}

test("xfs: a clone that is taken while reads are in flight stays as it was", { skip: needs("xfs") }, async (t) => {
  const { mount } = disk(t, "xfs", 320 * MIB, "memory", "-m", "reflink=1");
  const { memory, fd, writeback, ...reads } = await bed(t, mount);
  const clone = path.join(mount, "clone");
  let version = 0;
  await compare("xfs: pages of a clone that changed", t, 10, async (how) => {
    rmSync(clone, { force: true });
    const cloneFd = openSync(clone, "w");
    try {
      const reading = readAll(memory, reads[how], version++ % VERSIONS);
      const answer = await new Promise((resolve) =>
        ioctl.async(cloneFd, FICLONE, fd, (_: unknown, n: number) => resolve(n)),
      );
      assert.equal(answer, 0);
      const before = readDirect(clone, 0);
      await reading;
      await writeback();
      // Pages may have been marked dirty a little later.
      await writeback();
      return differingPages(readDirect(clone, 0), before);
    } finally {
      closeSync(cloneFd);
    }
  });
});

test("btrfs: no wrong checksums under a storm of msync, also from outside", {
  skip: needs("btrfs", "btrfs"),
}, async (t) => {
  // Both as much as it takes for errors that stay: with small reads, or few, a later msync repairs most of them.
  const LANES = 32;
  const READS = 200;
  const { mount } = disk(t, "btrfs", 256 * MIB, "scratch");
  const { memory, file, writeback, ...reads } = await bed(t, mount);
  const random = new Random(1);
  /** Runs the storm; returns the number of errors that a scrub finds afterwards. */
  const storm = async (read: Read): Promise<number> => {
    const outside = spawn("sh", ["-c", 'while :; do sync "$1"; done', "sh", file], { stdio: "ignore" });
    const ended = new Promise((resolve) => outside.on("exit", resolve));
    let left = READS;
    const lane = async (): Promise<void> => {
      while (left-- > 0) {
        const at = random.below(BYTES / READ_BYTES) * READ_BYTES;
        const from = random.below((VERSIONS * BYTES) / READ_BYTES) * READ_BYTES;
        await read(memory.subarray(at, at + READ_BYTES), from);
      }
    };
    const syncing = async (): Promise<void> => {
      while (left > 0) await writeback();
    };
    try {
      await Promise.all([...Array.from({ length: LANES }, lane), syncing()]);
    } finally {
      outside.kill("SIGKILL");
      await ended;
    }
    execFileSync("sync", ["-f", mount]);
    // It exits with 3 where it found errors.
    const { stdout } = spawnSync("btrfs", ["scrub", "start", "-B", "-R", mount], { encoding: "utf8" });
    const found = /csum_errors: (\d+)/.exec(stdout)?.[1];
    assert.ok(found !== undefined, stdout);
    return Number(found);
  };
  await compare("btrfs: blocks with wrong checksums", t, 2, async (how) => {
    // All of it anew: what an earlier round has left there isn't this one's.
    memory.set(content(BYTES, 3));
    await writeback();
    return storm(reads[how]);
  });
});
