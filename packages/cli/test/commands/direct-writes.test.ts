// Doctor's finding on the kernel's path of direct writes.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { release } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { disk, needsRoot } from "../../../pinless/dist-test/support/disks.js";
import { type WriteCopy, writeCopyOf } from "../../dist/doctor/direct-writes.js";
import { diagnose } from "./doctor.js";

const CASES: readonly (readonly [type: string, options: string, stable: boolean, kernel: string, copy: WriteCopy])[] = [
  ["ext4", "rw", true, "7.1.0", "none"],
  ["xfs", "rw", true, "6.18.44-fc", "none"],
  ["xfs", "rw", true, "7.0.0-rc1", "stable pages"],
  ["xfs", "rw", false, "7.0.0", "none"],
  ["btrfs", "rw", false, "6.14.9", "none"],
  ["btrfs", "rw", false, "6.15.0", "page cache"],
  ["btrfs", "rw,nodatasum", false, "6.18.0", "none"],
  ["btrfs", "rw,nodatacow", false, "7.2", "none"],
  ["btrfs", "rw", false, "10.0", "stable pages"],
];

for (const [type, options, stableWrites, kernel, copy] of CASES)
  test(`${type} (${options}), stable writes ${stableWrites}, Linux ${kernel}: ${copy}`, () =>
    assert.equal(writeCopyOf({ type, options: options.split(","), stableWrites }, kernel), copy));

test("a write is tried in a directory, and not on a file", { skip: needsRoot }, async (t) => {
  const { mount } = disk(t, "ext4", 64 << 20, "memory");
  const { directWrites } = (await diagnose([mount])).findings;
  assert.equal(directWrites.copied, "none");
  // The kernel updates the time of an ext4 file in a worker thread, in every version so far.
  assert.equal(directWrites.inWorker, true);
  const file = path.join(mount, "file");
  writeFileSync(file, Buffer.alloc(8192));
  assert.equal((await diagnose([file])).findings.directWrites.inWorker, null);
});

test("btrfs with checksums copies what is written", { skip: needsRoot }, async (t) => {
  const { mount } = disk(t, "btrfs", 256 << 20, "memory");
  const { directWrites } = (await diagnose([mount])).findings;
  assert.equal(directWrites.copied, writeCopyOf({ type: "btrfs", options: [], stableWrites: false }, release()));
  if (directWrites.copied !== "none") assert.match(directWrites.found, /checksums/);
});
