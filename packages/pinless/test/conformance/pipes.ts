/** Pipes and terminals: a waiting call holds no thread of libuv's pool, and ends with close(). */

import assert from "node:assert/strict";
import { createHook } from "node:async_hooks";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { stat } from "node:fs/promises";
import { type TestContext, test } from "node:test";
import koffi from "koffi";
import { Engine, type File, type SchemeName } from "../../dist/index.js";
import { Random } from "../support/random.js";
import { namedPipe, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const { O_RDWR, O_WRONLY, O_NONBLOCK, O_NOCTTY } = constants;
/** More than libuv's pool has threads. */
const PIPES = Number(process.env.UV_THREADPOOL_SIZE ?? 4) + 2;
/** More than a pipe holds, and no multiple of anything. */
const FIRST = 7;
const CONTENT = new Random(1).bytes(300_007);

/** The other end of a pipe or terminal: its path, and the bytes that were written to it. */
interface OtherEnd {
  readonly path: string;
  readonly fd: number;
  /** Reads all bytes that are there now. */
  drain(): Buffer;
}

function otherEnd(t: TestContext, path: string, fd: number): OtherEnd {
  undoing(t, () => closeSync(fd));
  const buffer = Buffer.alloc(1 << 16);
  return {
    path,
    fd,
    drain() {
      const parts: Buffer[] = [];
      for (;;) {
        try {
          parts.push(Buffer.from(buffer.subarray(0, readSync(fd, buffer))));
        } catch (error) {
          // EIO: all descriptors of the terminal are closed.
          assert.ok(["EAGAIN", "EIO"].includes((error as { code: string }).code), String(error));
          return Buffer.concat(parts);
        }
      }
    },
  };
}

function pipe(t: TestContext): OtherEnd {
  const path = namedPipe(t);
  return otherEnd(t, path, openSync(path, O_RDWR | O_NONBLOCK));
}

function terminal(t: TestContext): OtherEnd {
  const TIOCGPTN = 0x80045430;
  const TIOCSPTLCK = 0x40045431;
  const master = openSync("/dev/ptmx", O_RDWR | O_NONBLOCK | O_NOCTTY);
  const ioctl = koffi.load(null).func("int ioctl(int fd, ulong request, _Inout_ int *value)");
  const number = [0];
  assert.equal(ioctl(master, TIOCSPTLCK, [0]), 0);
  assert.equal(ioctl(master, TIOCGPTN, number), 0);
  return otherEnd(t, `/dev/pts/${number[0]}`, master);
}

/** Opened before the pipes, and so closed after them: a call that hangs on a pipe by mistake ends. */
async function open(t: TestContext, scheme: SchemeName): Promise<Engine> {
  const engine = await Engine.open({ scheme, pin: "per-io" });
  undoing(t, () => engine.close());
  return engine;
}

/** libuv's pool does something else meanwhile. */
async function poolIsFree(): Promise<void> {
  let done = false;
  const call = stat("/").then(() => {
    done = true;
  });
  await until("a call on libuv's pool", () => done);
  await call;
}

async function drainedUntil(ends: readonly OtherEnd[], bytes: number): Promise<Buffer[]> {
  const got: Buffer[] = ends.map(() => Buffer.alloc(0));
  await until("what was written", () => {
    for (const [i, end] of ends.entries()) got[i] = Buffer.concat([got[i]!, end.drain()]);
    return got.every((part) => part.length >= bytes);
  });
  return got;
}

export function pipes(scheme: SchemeName): void {
  for (const [what, make] of [
    ["a pipe", pipe],
    ["a terminal", terminal],
  ] as const) {
    // A terminal turns some bytes into others.
    const content = what === "a pipe" ? CONTENT : Buffer.alloc(CONTENT.length, "x");

    test(`${scheme}: writes of more than ${what} holds keep no thread while they wait, and arrive whole`, async (t) => {
      const engine = await open(t, scheme);
      const ends = Array.from({ length: PIPES }, () => make(t));
      const files = await Promise.all(ends.map(({ path }) => engine.openFile(path, O_WRONLY | O_NOCTTY)));
      const arena = await engine.arena({ bytes: 4 << 20 });
      const own = arena.alloc(content.length);
      own.set(content);
      // So that there's room for a part of what comes next only.
      for (const file of files) await file.write(content.subarray(0, FIRST));
      let ended = 0;
      const writes = files.map(async (file, i) => {
        const { bytesWritten } = await file.write((i % 2 === 0 ? content : own).subarray(FIRST));
        ended++;
        return bytesWritten;
      });
      await poolIsFree();
      let calls = 0;
      const counting = createHook({
        init: (_id, type) => {
          if (type === "FSREQCALLBACK") calls++;
        },
      }).enable();
      const from = performance.now();
      for (let i = 0; i < 50; i++) await poolIsFree();
      const ms = performance.now() - from;
      counting.disable();
      assert.equal(ended, 0);
      // What is polled isn't tried at all, the rest each 5 ms; a timer may be early by one.
      assert.ok(calls <= PIPES * (ms / 4 + 2), `${calls} calls in ${ms} ms, while all wait`);
      const got = await drainedUntil(ends, content.length);
      assert.deepEqual(await Promise.all(writes), new Array(PIPES).fill(content.length - FIRST));
      for (const part of got) assert.ok(part.equals(content));
    });

    test(`${scheme}: File.close ends writes that wait for room in ${what}, with the bytes written`, async (t) => {
      const engine = await open(t, scheme);
      const ends = Array.from({ length: PIPES }, () => make(t));
      const files = await Promise.all(ends.map(({ path }) => engine.openFile(path, O_WRONLY | O_NOCTTY)));
      const outcomes = files.map((file) =>
        file.write(content).then(
          () => assert.fail("it took more than it holds"),
          (error: { code: string; bytesWritten: number }) => error,
        ),
      );
      await poolIsFree();
      await Promise.all(files.slice(1).map((file) => file.close()));
      await engine.close();
      for (const [i, outcome] of (await Promise.all(outcomes)).entries()) {
        assert.equal(outcome.code, "ECANCELED");
        const got = ends[i]!.drain();
        assert.ok(got.equals(content.subarray(0, got.length)));
        assert.equal(outcome.bytesWritten, got.length);
      }
    });
  }

  test(`${scheme}: a write to a pipe without a reader fails with EPIPE`, async (t) => {
    const path = namedPipe(t);
    const reader = openSync(path, constants.O_RDONLY | O_NONBLOCK);
    const engine = await open(t, scheme);
    const file = await engine.openFile(path, "w");
    const write = file.write(CONTENT);
    const outcome = write.catch((error) => error);
    await poolIsFree();
    closeSync(reader);
    const { code, bytesWritten } = await outcome;
    assert.equal(code, "EPIPE");
    assert.ok(bytesWritten < CONTENT.length);
  });

  const readable = scheme === "direct" ? undefined : test;
  readable?.(
    `${scheme}: reads of one pipe by more files than there are threads: each byte goes to one of them`,
    async (t) => {
      const { path, fd } = pipe(t);
      const engine = await open(t, scheme);
      const files: File[] = [];
      for (let i = 0; i < 2 * PIPES; i++) files.push(await engine.openFile(path));
      const got: number[] = [];
      const reads = files.map((file) =>
        file.read(Buffer.alloc(1)).then(
          ({ buffer }) => void got.push(buffer[0]!),
          (error) => assert.equal(error.code, "ECANCELED"),
        ),
      );
      for (let byte = 1; byte <= PIPES; byte++) {
        writeSync(fd, Buffer.of(byte));
        await until("the byte to be read", () => got.length === byte);
        await poolIsFree();
      }
      await engine.close();
      await Promise.all(reads);
      assert.deepEqual(got, [1, 2, 3, 4, 5, 6, 7, 8, 9].slice(0, PIPES));
    },
  );
}
