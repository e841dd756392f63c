/** Locks on parts of files: between Files of a process, its threads, and processes. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { type TestContext, test } from "node:test";
import { Worker } from "node:worker_threads";
import { FileLocks } from "../../dist/files/file-locks.js";
import { Engine, type File, type LockOptions, type SystemError } from "../../dist/index.js";
import type { MemoryRequest } from "../../dist/ports/memory.js";
import { needsRoot, ramfs, tmpfs } from "../support/disks.js";
import { fuse, needsFuse } from "../support/fuse.js";
import { scratchDirectory, undoing } from "../support/undo.js";

const BUSY = { code: "EAGAIN", errno: -11, syscall: "fcntl" };

interface Opens {
  readonly engine: Engine;
  readonly name: string;
  open(flags?: string): Promise<File>;
}

async function opens(t: TestContext, name = path.join(scratchDirectory(t), "file")): Promise<Opens> {
  writeFileSync(name, "0123456789");
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const open = async (flags = "r+"): Promise<File> => {
    const file = await engine.openFile(name, flags);
    undoing(t, () => file.close());
    return file;
  };
  return { engine, name, open };
}

/** Kinds of locks that a File could take on each byte of a part: "x" any, "s" a shared one, "-" none. */
async function free(file: File, bytes = 10): Promise<string> {
  let kinds = "";
  for (let start = 0; start < bytes; start++) {
    const can = async (exclusive: boolean): Promise<boolean> => {
      try {
        await (await file.lock({ exclusive, start, length: 1 })).unlock();
        return true;
      } catch (error) {
        assert.equal((error as SystemError).code, "EAGAIN");
        return false;
      }
    };
    kinds += (await can(true)) ? "x" : (await can(false)) ? "s" : "-";
  }
  return kinds;
}

/** Locks of one open of a file keep others out of their bytes, until they are unlocked. */
async function excludes({ open }: Opens): Promise<void> {
  const [one, other] = [await open(), await open()];
  const all = await one.lock();
  assert.equal(await free(other), "----------");
  await all.unlock();
  assert.equal(await free(other), "xxxxxxxxxx");
  const locks = [
    await one.lock({ start: 1, length: 2 }),
    await one.lock({ start: 4, length: 2, exclusive: false }),
    await one.lock({ start: 9 }),
  ];
  assert.equal(await free(other), "x--xssxxx-");
  await assert.rejects(other.lock({ start: Number.MAX_SAFE_INTEGER - 1, length: 1 }), BUSY);
  const shared = await other.lock({ start: 4, length: 3, exclusive: false });
  assert.equal(await free(one), "xxxxsssxxx");
  for (const lock of [...locks, shared]) await lock[Symbol.asyncDispose]();
  assert.equal(await free(one), "xxxxxxxxxx");
}

test("a lock keeps other opens of the file out of its bytes", async (t) => excludes(await opens(t)));
for (const [name, mounted] of Object.entries({ ramfs, tmpfs: (t: TestContext) => tmpfs(t, 1 << 20) }))
  test(`${name}: the same`, { skip: needsRoot }, async (t) => excludes(await opens(t, path.join(mounted(t), "file"))));
test("a filesystem in user space without locks: the same, by the kernel", { skip: needsFuse }, async (t) =>
  excludes(await opens(t, (await fuse(t, Buffer.alloc(10))).file)),
);

test("a filesystem that refuses locks: its error, and the file closes", { skip: needsFuse }, async (t) => {
  const { open } = await opens(t, (await fuse(t, Buffer.alloc(10), "refuse-locks")).file);
  const file = await open();
  await assert.rejects(file.lock(), { code: "ENOSYS", syscall: "fcntl" });
  await file.close();
});

test("the error of a lock that is held elsewhere says where, and what to do", async (t) => {
  const { open } = await opens(t);
  const [one, other] = [await open(), await open()];
  const lock = await one.lock({ start: 5, length: 1 });
  const text = "EAGAIN: resource temporarily unavailable, fcntl: the file is locked elsewhere";
  const todo = "try again later, or wait with { wait: true }";
  await assert.rejects(other.lock({ start: 2, length: 8 }), { ...BUSY, message: `${text} (bytes 2 to 9): ${todo}` });
  await assert.rejects(other.lock({ start: 2 }), { ...BUSY, message: `${text} (from byte 2 on): ${todo}` });
  await lock.unlock();
});

test("within a File a later lock takes over the bytes of earlier ones, which keep the rest", async (t) => {
  const { open } = await opens(t);
  const [one, other] = [await open(), await open()];
  const shared = await one.lock({ start: 0, length: 8, exclusive: false });
  const upgrade = await one.lock({ start: 2, length: 2 });
  assert.equal(await free(other), "ss--ssssxx");
  const downgrade = await one.lock({ start: 3, length: 2, exclusive: false });
  assert.equal(await free(other), "ss-sssssxx");
  await shared.unlock();
  assert.equal(await free(other), "xx-ssxxxxx");
  await shared.unlock();
  await upgrade.unlock();
  assert.equal(await free(other), "xxxssxxxxx");
  // An upgrade that another lock forbids leaves the lock as it was.
  const theirs = await other.lock({ start: 4, length: 1, exclusive: false });
  await assert.rejects(one.lock({ start: 0, length: 8 }), BUSY);
  assert.equal(await free(other), "xxxssxxxxx");
  await Promise.all([downgrade.unlock(), theirs.unlock()]);
  assert.equal(await free(other), "xxxxxxxxxx");
});

test("an unlock leaves alone what a lock of the same File is about to take over", async (t) => {
  const { open } = await opens(t);
  const [one, other] = [await open(), await open()];
  const first = await one.lock({ start: 0, length: 4 });
  const [second] = await Promise.all([one.lock({ start: 2, length: 4 }), first.unlock()]);
  assert.equal(await free(other), "xx----xxxx");
  await second.unlock();
});

test("closing a File gives its locks up: at once, also if the description has other descriptors", async (t) => {
  const { engine, name, open } = await opens(t);
  const other = await open();
  const one = await open();
  const lock = await one.lock();
  await one.close();
  assert.equal(await free(other), "xxxxxxxxxx");
  const fd = openSync(name, "r+");
  undoing(t, () => closeSync(fd));
  const [mine, same] = [await engine.openFile({ fd }), await engine.openFile({ fd })];
  await mine.lock({ length: 5 });
  await (await same.lock({ length: 5, exclusive: false })).unlock();
  await mine.lock({ length: 5 });
  assert.equal(await free(other), "-----xxxxx");
  await mine.close();
  assert.equal(await free(other), "xxxxxxxxxx");
  await same.close();
  const [late] = await Promise.all([other.lock(), other.close()]);
  assert.equal(await free(await open()), "xxxxxxxxxx");
  for (const closed of [lock, late]) await closed.unlock();
  await assert.rejects(one.lock(), { code: "EBADF", syscall: "fcntl", message: "file closed" });
});

test("a wait for a lock ends with it, by its signal, and by closing the file", async (t) => {
  const { open } = await opens(t);
  const [one, other, third] = [await open(), await open(), await open()];
  const lock = await one.lock();
  const waiting = other.lock({ start: 3, wait: true });
  await assert.rejects(third.lock({ wait: true, signal: AbortSignal.timeout(1) }), { code: "ABORT_ERR" });
  const closed = assert.rejects(third.lock({ wait: true }), { code: "EBADF", message: "file closed" });
  await third.close();
  await closed;
  await lock.unlock();
  const later = await waiting;
  assert.equal(await free(one), "xxx-------");
  await later.unlock();
  await assert.rejects(one.lock({ signal: AbortSignal.abort() }), { code: "ABORT_ERR" });
  await (await one.lock({ wait: true, signal: new AbortController().signal })).unlock();
});

test("a wait doesn't end for an error that isn't about another lock", async (t) => {
  const { open } = await opens(t);
  const readOnly = await open("r");
  const writeOnly = await open("a");
  await assert.rejects(readOnly.lock({ wait: true }), { code: "EBADF", syscall: "fcntl" });
  await assert.rejects(writeOnly.lock({ exclusive: false, wait: true }), { code: "EBADF", syscall: "fcntl" });
  await (await readOnly.lock({ exclusive: false })).unlock();
  await (await writeOnly.lock()).unlock();
});

test("an unlock that the filesystem refuses rejects, and can be tried again", async () => {
  const answers = [0, -5, 0, 0];
  const asked: string[] = [];
  const memory = {
    run: async ({ lock }: MemoryRequest): Promise<object> => {
      asked.push(lock!);
      return { errno: answers.shift() };
    },
  };
  const host = { describe: () => ["EIO", "i/o error"], memory };
  const locks = new FileLocks(host as never, { handle: { fd: 1 }, device: "1", isClosing: false } as never);
  const lock = await locks.lock({});
  await assert.rejects(lock.unlock(), { code: "EIO", syscall: "fcntl" });
  await lock.unlock();
  await lock.unlock();
  await locks.lock({ exclusive: false });
  assert.deepEqual(asked, ["exclusive", "none", "none", "shared"]);
});

test("wrong arguments have Node's codes", async (t) => {
  const { open } = await opens(t);
  const file = await open();
  const MOST = Number.MAX_SAFE_INTEGER;
  const wrong: [unknown, string][] = [
    [{ start: -1 }, "ERR_OUT_OF_RANGE"],
    [{ start: 0.5 }, "ERR_OUT_OF_RANGE"],
    [{ start: Number.NaN }, "ERR_OUT_OF_RANGE"],
    [{ length: 0 }, "ERR_OUT_OF_RANGE"],
    [{ start: 1, length: MOST }, "ERR_OUT_OF_RANGE"],
    [{ start: "0" }, "ERR_INVALID_ARG_TYPE"],
    [{ length: 1n }, "ERR_INVALID_ARG_TYPE"],
    [{ signal: {} }, "ERR_INVALID_ARG_TYPE"],
    [{ shared: true }, "ERR_PINLESS_OPTION"],
    [{ exclusive: 1 }, "ERR_PINLESS_OPTION"],
    [{ wait: "yes" }, "ERR_PINLESS_OPTION"],
    [null, "ERR_PINLESS_OPTION"],
  ];
  for (const [options, code] of wrong) await assert.rejects(file.lock(options as LockOptions), { code });
  await (await file.lock({ start: 1, length: MOST - 1 })).unlock();
  await (await file.lock({ start: MOST })).unlock();
});

const LOCKS = `
  const { Engine } = await import(PINLESS);
  const engine = await Engine.open();
  const file = await engine.openFile(FILE, "r+");
  const lock = await file.lock({ start: 2, length: 3 });
  await file.lock({ start: 6, length: 1, exclusive: false });`;

function locking(file: string, then: string): string {
  const url = new URL("../../dist/index.js", import.meta.url).href;
  return LOCKS.replace("PINLESS", JSON.stringify(url)).replace("FILE", JSON.stringify(file)) + then;
}

test("locks of another process, until it unlocks them or dies", async (t) => {
  const { name, open } = await opens(t);
  const script = locking(
    name,
    `console.log("locked");
    process.stdin.once("data", async () => {
      await lock.unlock();
      console.log("unlocked");
    });`,
  );
  const child: ChildProcess = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  undoing(t, () => void child.kill("SIGKILL"));
  const said = createInterface(child.stdout!)[Symbol.asyncIterator]();
  const file = await open();
  assert.equal((await said.next()).value, "locked");
  assert.equal(await free(file), "xx---xsxxx");
  child.stdin!.write("unlock\n");
  assert.equal((await said.next()).value, "unlocked");
  assert.equal(await free(file), "xxxxxxsxxx");
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(await free(file), "xxxxxxxxxx");
});

test("locks of another thread, until it ends", async (t) => {
  const { name, open } = await opens(t);
  const then = 'require("node:worker_threads").parentPort.on("message", () => {}).postMessage("locked");';
  const script = `(async () => {${locking(name, then)}})();`;
  const worker = new Worker(script, { eval: true });
  undoing(t, () => worker.terminate().then(() => {}));
  const file = await open();
  await once(worker, "message");
  assert.equal(await free(file), "xx---xsxxx");
  await worker.terminate();
  assert.equal(await free(file), "xxxxxxxxxx");
});
