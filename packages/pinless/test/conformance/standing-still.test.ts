// The event loop goes on while a filesystem takes its time: FUSE here, which answers when the test says so, and the
// test runs on that loop.
import assert from "node:assert/strict";
import { readFileSync, truncateSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Engine, type SchemeName } from "../../dist/index.js";
import { diskOn } from "../support/disks.js";
import { type Fuse, fuse, needsFuse } from "../support/fuse.js";
import { ioUringOff } from "../support/io-uring.js";
import { undoing } from "../support/undo.js";

const MIB = 1 << 20;
const PIECE_BYTES = 65536;

/** Awaits a call while the filesystem's requests are answered, which only turns of this event loop do. */
async function inTurns<T>(filesystem: Fuse, call: Promise<T>): Promise<T> {
  let ended = false;
  const outcome = call.finally(() => {
    ended = true;
  });
  outcome.catch(() => {});
  while (!ended) {
    for (let turn = 0; turn < 3; turn++) await sleep(1);
    filesystem.go();
  }
  assert.equal(filesystem.impatient, null, "the loop stood still");
  return outcome;
}

/** Each byte is its position's, as far as it can. */
function numbered(bytes: number, from = 0): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => ((from + i) >>> 8) + (from + i));
}

/** An engine whose close() at the test's end waits for no answer of the filesystem. */
async function engineOn(t: TestContext, filesystem: Fuse, scheme: SchemeName): Promise<Engine> {
  const engine = await Engine.open({ scheme });
  undoing(t, async () => {
    await filesystem.hold();
    filesystem.go();
    await engine.close();
  });
  return engine;
}

for (const scheme of ["io_uring", "aio", "direct"] as const satisfies SchemeName[])
  for (const options of [[], ["async-dio"]] as const)
    test(`${scheme} on FUSE ${options.join()}: the event loop goes on while any call on a file waits for the answer`, {
      skip: needsFuse || (scheme === "io_uring" && ioUringOff()),
    }, async (t) => {
      const content = numbered(4 * MIB);
      const filesystem = await fuse(t, content, ...options);
      const engine = await engineOn(t, filesystem, scheme);
      const arena = await engine.arena({ bytes: 4 * MIB });
      const during = async <T>(call: () => Promise<T>): Promise<T> => {
        const before = filesystem.held;
        const result = await inTurns(filesystem, call());
        assert.ok(filesystem.held > before, "nothing was held");
        return result;
      };
      const inPieces = <T>(call: (i: number) => Promise<T>): Promise<T[]> =>
        Promise.all(Array.from({ length: 16 }, (_, i) => call(i)));
      await filesystem.hold("getattr", "open", "read", "write", "statfs", "flush", "fsync", "setattr", "poll");

      const file = await during(() => engine.openFile(filesystem.file, "r+"));
      assert.equal(file.direct, true);
      const views = Array.from({ length: 16 }, () => arena.alloc(PIECE_BYTES));
      for (const { buffer } of await during(() => inPieces((i) => file.read(views[i]!, { position: i * PIECE_BYTES }))))
        assert.equal(buffer.byteLength, PIECE_BYTES);
      for (const [i, view] of views.entries())
        assert.deepEqual(view.subarray(0, 100), content.subarray(i * PIECE_BYTES, i * PIECE_BYTES + 100));
      const unaligned = await during(() =>
        inPieces((i) => file.read(new Uint8Array(1000), { position: 2 * MIB + 7 + 50_000 * i })),
      );
      for (const [i, { buffer }] of unaligned.entries())
        assert.deepEqual(buffer, content.slice(2 * MIB + 7 + 50_000 * i, 2 * MIB + 1007 + 50_000 * i));

      for (const view of views) view.fill(1);
      await during(() => inPieces((i) => file.write(views[i]!, { position: i * PIECE_BYTES })));
      await during(() =>
        inPieces((i) => file.write(new Uint8Array(1000).fill(2), { position: 2 * MIB + 7 + 1000 * i })),
      );
      // Longer than it was.
      await during(() => inPieces((i) => file.write(views[i]!, { position: 4 * MIB + i * PIECE_BYTES })));
      await during(() => file.write(new Uint8Array(5).fill(3)));
      await during(
        () =>
          new Promise<void>((resolve, reject) => {
            file.submit("write", views[0]!.fill(4), MIB, (errno) => (errno === 0 ? resolve() : reject(errno)));
          }),
      );
      await during(() => file.sync());
      await during(() => file.stat());
      const whole = (await during(() => file.readFile())) as Buffer;
      assert.equal(whole.length, 5 * MIB - 5);
      await during(() => file.truncate(3 * MIB));
      await during(() => file.close());

      const written = readFileSync(filesystem.backing);
      assert.equal(written.length, 3 * MIB);
      assert.deepEqual(new Set(written.subarray(5, MIB)), new Set([1]));
      assert.deepEqual([...written.subarray(0, 5)], [3, 3, 3, 3, 3]);
      assert.deepEqual(new Set(written.subarray(MIB, MIB + PIECE_BYTES)), new Set([4]));
      assert.deepEqual(new Set(written.subarray(2 * MIB + 7, 2 * MIB + 16_007)), new Set([2]));
    });

for (const kind of ["ext4", "xfs", "btrfs"] as const)
  for (const scheme of ["io_uring", "aio"] as const)
    test(`${scheme} on ${kind} on a slow device: the event loop goes on`, {
      skip: needsFuse || (scheme === "io_uring" && ioUringOff()),
    }, async (t) => {
      const filesystem = await fuse(t, new Uint8Array(0), "async-dio");
      truncateSync(filesystem.backing, 300 * MIB);
      const { mount } = diskOn(t, kind, filesystem.file);
      const engine = await engineOn(t, filesystem, scheme);
      const arena = await engine.arena({ bytes: 4 * MIB });
      const views = Array.from({ length: 16 }, (_, i) => arena.alloc(PIECE_BYTES).fill(i + 1));
      const file = await engine.openFile(path.join(mount, "file"), "w+");
      assert.equal(file.direct, true);
      await filesystem.hold("read", "write");
      const inPieces = <T>(call: (view: Uint8Array, position: number) => Promise<T>): Promise<unknown> =>
        inTurns(filesystem, Promise.all(views.map((view, i) => call(view, i * PIECE_BYTES))));
      // Where there are no blocks yet, then where there are.
      await inPieces((view, position) => file.write(view, { position }));
      await inPieces((view, position) => file.write(view, { position }));
      await inTurns(filesystem, file.sync());
      await inPieces(async (view, position) => {
        await file.read(view.fill(0), { position });
        assert.deepEqual(new Set(view), new Set([position / PIECE_BYTES + 1]));
      });
      await inPieces((_, position) => file.read(new Uint8Array(1000), { position: position + 7 }));
      await inPieces((_, position) => file.write(new Uint8Array(1000), { position: position + 7 }));
      await inTurns(filesystem, file.sync());
      await inTurns(filesystem, file.close());
      assert.ok(filesystem.held > 32, `${filesystem.held} requests were held`);
    });
