// Truth of `file.direct`: the page cache must have nothing of a file that was read direct.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { btrfsThat, disk, ext4, needsRoot, overlay, tmpfs } from "../support/disks.js";
import { cachedBytes } from "../support/page-cache.js";
import { Random } from "../support/random.js";
import { undoing } from "../support/undo.js";

const MIB = 1 << 20;

const PLACES: readonly { what: string; at: (t: TestContext) => string; direct: boolean; text?: boolean }[] = [
  { what: "ext4", at: (t) => ext4(t, 32 * MIB), direct: true },
  { what: "xfs", at: (t) => disk(t, "xfs", 320 * MIB, "memory").mount, direct: true },
  { what: "btrfs", at: (t) => disk(t, "btrfs", 128 * MIB, "memory").mount, direct: true },
  { what: "tmpfs", at: (t) => tmpfs(t, 32 * MIB), direct: false },
  { what: "an overlay on ext4", at: (t) => overlay(t, ext4(t, 32 * MIB)), direct: true },
  { what: "an overlay on tmpfs", at: (t) => overlay(t, tmpfs(t, 32 * MIB)), direct: false },
  { what: "btrfs that compresses", at: (t) => btrfsThat(t, "compress=zstd"), direct: false, text: true },
];

for (const { what, at, direct, text = false } of PLACES) {
  test(`File.direct on ${what} is ${direct}, and that is so`, { skip: needsRoot }, async (t) => {
    const name = path.join(at(t), "file");
    writeFileSync(name, text ? Buffer.alloc(MIB, "text ") : new Random(1).bytes(MIB));
    execFileSync("sync", ["-f", name]);
    const engine = await Engine.open({ depth: 8, pin: "per-io" });
    undoing(t, () => engine.close());
    const buffer = (await engine.arena({ bytes: 4 * MIB })).alloc(MIB);
    for (const flags of ["r", "r+"]) {
      execFileSync("dd", ["status=none", `if=${name}`, "iflag=nocache", "count=0"]);
      const file = await engine.openFile(name, flags);
      assert.equal(file.direct, direct, flags);
      const before = engine.stats().buffered;
      assert.equal((await file.read(buffer, { position: 0 })).bytesRead, MIB);
      await new Promise<void>((resolve) => {
        file.submit("read", buffer, 0, () => resolve());
      });
      assert.equal(engine.stats().buffered - before, direct ? 0 : 2);
      assert.equal(cachedBytes(name) > 0, !direct, `${flags}: the page cache has ${cachedBytes(name)} bytes`);
      await file.close();
    }
  });
}

test("File.direct on btrfs, with compression switched on or off for the file", { skip: needsRoot }, async (t) => {
  const engine = await Engine.open({ depth: 8, pin: "per-io" });
  undoing(t, () => engine.close());
  const compressing = btrfsThat(t, "compress=zstd");
  const plain = disk(t, "btrfs", 128 * MIB, "memory").mount;
  for (const [mount, attribute, direct] of [
    [compressing, "+C", true],
    [compressing, "+m", true],
    [plain, "+c", false],
  ] as const) {
    const name = path.join(mount, `file${attribute}`);
    writeFileSync(name, "");
    execFileSync("chattr", [attribute, name]);
    const file = await engine.openFile(name, "r+");
    assert.equal(file.direct, direct, attribute);
    await file.close();
  }
});
