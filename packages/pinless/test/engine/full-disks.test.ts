/** Write streams on a disk that gets full, and on a device that fails. */

import assert from "node:assert/strict";
import { createWriteStream, readdirSync, statfsSync, statSync, unlinkSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine, type File } from "../../dist/index.js";
import { ext4, failingDisk, needsRoot, tmpfs } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { undoing } from "../support/undo.js";

const MIB = 1 << 20;
const CHUNK = Buffer.from(Uint8Array.from({ length: 100_003 }, (_, i) => (i * 7 + (i >> 8)) & 255));
const CHUNKS = 400;

interface Seen {
  /** Codes of the stream's errors. */
  readonly errors: string[];
  /** Answers of the writes that were given a callback, and of end: a code, or "written". */
  readonly answers: string[];
  readonly finished: boolean;
}

interface Writer extends NodeJS.WritableStream {
  readonly destroyed: boolean;
}

/** Writes to a stream until it's over: it has room for backpressure, each write a callback or none. */
async function written(stream: Writer, hasCallbacks: boolean): Promise<Seen> {
  const errors: string[] = [];
  const answers: string[] = [];
  let finished = false;
  const answer = (error?: Error | null): void => void answers.push((error as NodeJS.ErrnoException)?.code ?? "written");
  stream.on("error", (error: NodeJS.ErrnoException) => errors.push(error.code!));
  stream.on("finish", () => {
    finished = true;
  });
  const closed = new Promise<void>((resolve) => stream.on("close", resolve));
  for (let i = 0; i < CHUNKS && !stream.destroyed; i++) {
    const drained = new Promise((resolve) => stream.once("drain", resolve));
    const hasRoom = hasCallbacks ? stream.write(CHUNK, answer) : stream.write(CHUNK);
    if (!hasRoom) await Promise.race([drained, closed]);
  }
  const ended = new Promise<void>((resolve) => {
    stream.end((error?: Error | null) => resolve(answer(error)));
  });
  await Promise.all([closed, ended]);
  return { errors, answers, finished };
}

/** Counts the arenas that are made from now on, until the test ends. */
function arenasMade(t: TestContext): { count: number } {
  const made = { count: 0 };
  const { WebAssembly } = globalThis as unknown as { WebAssembly: { Memory: new (limits: object) => object } };
  const { Memory } = WebAssembly;
  WebAssembly.Memory = new Proxy(Memory, {
    construct(target, args: [object]) {
      made.count++;
      return new target(...args);
    },
  });
  undoing(t, () => {
    WebAssembly.Memory = Memory;
  });
  return made;
}

/** Asserts that a stream failed once, before it finished, and that after the first failure nothing is "written". */
function failedOnce({ errors, answers, finished }: Seen, codes: readonly string[]): void {
  assert.equal(errors.length, 1, errors.join());
  assert.ok(codes.includes(errors[0]!), errors[0]);
  assert.equal(finished, false);
  const first = answers.findIndex((answer) => answer !== "written");
  assert.ok(first >= 0);
  for (const each of answers.slice(first))
    assert.ok([...codes, "ERR_STREAM_DESTROYED"].includes(each), `${each} after ${answers[first]}`);
}

for (const scheme of ["io_uring", "aio", "direct"] as const) {
  const skip = needsRoot || (scheme === "io_uring" ? ioUringOff() : false);

  /** Has streams of different kinds fail; `renew` makes room again. */
  async function fails(t: TestContext, mount: string, codes: readonly string[], renew: () => void): Promise<void> {
    const engine = await Engine.open({ scheme, depth: 8 });
    undoing(t, () => engine.close());
    const open = (): Promise<File> => engine.openFile(path.join(mount, "file"), "w");
    const most = CHUNKS * CHUNK.length;
    const arenas = arenasMade(t);
    let before = 0;
    for (let round = 0; round < 8; round++) {
      const file = await open();
      const stream = file.createWriteStream({ flush: round % 2 === 0 });
      failedOnce(await written(stream, round % 4 > 1), codes);
      assert.ok(stream.bytesWritten < most);
      assert.ok(statSync(path.join(mount, "file")).size < most);
      assert.equal(file.fd, -1, "the file was closed");
      if (round === 3) before = arenas.count;
      renew();
    }
    // Two streams that kept their memory would have needed another arena.
    assert.equal(arenas.count, before);
    assert.equal(engine.notifier.inProgress, 0);
  }

  for (const [name, make] of Object.entries({ ext4, tmpfs }))
    test(`${scheme}: ${name} gets full: ENOSPC once, as of node:fs, and memory is given back`, { skip }, async (t) => {
      const mount = make(t, 16 * MIB);
      const file = path.join(mount, "file");
      for (const hasCallbacks of [false, true])
        failedOnce(await written(createWriteStream(file), hasCallbacks), ["ENOSPC"]);
      unlinkSync(file);
      await fails(t, mount, ["ENOSPC"], () => unlinkSync(file));
      assert.ok(statfsSync(mount).bavail > 0);
      assert.deepEqual(
        readdirSync(mount).filter((each) => each !== "lost+found"),
        [],
      );
    });

  test(`${scheme}: a device fails: its error once, and memory is given back`, { skip }, async (t) => {
    const mount = failingDisk(t, 64 * MIB, 16 * MIB);
    await fails(t, mount, ["EIO", "ENOSPC", "EROFS"], () => {});
  });
}
