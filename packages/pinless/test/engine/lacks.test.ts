// A resource is missing for a moment: the call that needs it says what to change, leaves nothing behind, and works the
// next time.
import assert from "node:assert/strict";
import { chmodSync, cpSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { numberedBlocks } from "../support/blocks.js";
import { asOrdinaryUser, runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { scratchDirectory } from "../support/undo.js";

const LIMIT = 120;

/** In a child: takes all descriptors but `leave`, and gives them back. */
const DESCRIPTORS = `
  import fs from "node:fs";
  const taken = [];
  const fill = (leave = 0) => {
    for (;;) {
      try { taken.push(fs.openSync("/dev/null")); } catch { break; }
    }
    for (let i = 0; i < leave; i++) fs.closeSync(taken.pop());
  };
  const free = () => { for (const fd of taken.splice(0)) fs.closeSync(fd); };
  const [file, directory] = process.argv.slice(1);
  const said = [];
  const refused = async (what, run) => {
    try {
      await run();
      said.push([what, "worked"]);
    } catch ({ code, message }) {
      said.push([what, code, message]);
    }
  };
  const count = (of) => fs.readdirSync("/proc/self/" + of).length;
  const within = async (what, condition) => {
    for (const begin = Date.now(); !(await condition()); await new Promise(setImmediate))
      if (Date.now() - begin > 60_000) throw new Error(what);
  };
`;

type Said = readonly [what: string, code: string, message?: string];

async function withFewDescriptors(t: TestContext, source: string): Promise<Said[]> {
  const directory = scratchDirectory(t);
  const file = path.join(directory, "file");
  writeFileSync(file, numberedBlocks(16));
  const { code, signal, stdout, stderr } = await runModule(
    `${DESCRIPTORS}${source}; console.log(JSON.stringify(said));`,
    {
      args: [file, directory],
      wrapper: ["prlimit", `--nofile=${LIMIT}:${LIMIT}`],
    },
  );
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

test("A moment without descriptors at the first open(): the next one works", async (t) => {
  const said = await withFewDescriptors(
    t,
    `
    const { open } = await import(PINLESS);
    const opened = [];
    for (let leave = 0; leave < 10; leave++) {
      fill(leave);
      await refused("open with " + leave, async () => opened.push(await open(file)));
      free();
    }
    const handle = await open(file);
    said.push(["later", String((await handle.read(Buffer.alloc(100), 0, 100, 0)).bytesRead)]);
    for (const each of [...opened, handle]) await each.close();
    `,
  );
  assert.deepEqual(said.at(-1), ["later", "100"]);
  const first = said[0]!;
  assert.equal(first[1], "EMFILE");
  assert.match(first[2]!, /RLIMIT_NOFILE \(ulimit -n\)/);
});

for (const scheme of ["io_uring", "aio", "direct"]) {
  test(`${scheme}: without descriptors a first copy and a first arena of a file fail, and work later`, async (t) => {
    const said = await withFewDescriptors(
      t,
      `
      const { Engine } = await import(PINLESS);
      const engine = await Engine.open({ scheme: ${JSON.stringify(scheme)} });
      const handle = await engine.openFile(file, "r+");
      const mapped = await engine.openFile(directory + "/mapped", "w+");
      fill();
      await refused("read", () => handle.read(Buffer.alloc(100), 0, 100, 0));
      await refused("write", () => handle.write(Buffer.alloc(100), 0, 100, 0));
      await refused("arena of a file", () => engine.arena({ file: mapped, bytes: 4096 }));
      free();
      await refused("later", () => handle.read(Buffer.alloc(100), 0, 100, 0));
      await refused("later", () => handle.write(Buffer.alloc(100), 0, 100, 0));
      await refused("later", () => engine.arena({ file: mapped, bytes: 4096 }));
      await engine.close();
      `,
    );
    // Some schemes need no descriptor for a call; what works, works.
    assert.deepEqual(said.slice(-3), Array(3).fill(["later", "worked"]));
    assert.ok(
      said.some(([what, code]) => what === "arena of a file" && code === "EMFILE"),
      JSON.stringify(said),
    );
  });
}

/** In a child: changes a limit of its own, and back. */
const LIMITS = `
  import koffi from "koffi";
  const setrlimit = koffi.load(null).func("int setrlimit(int resource, uint64_t *limits)");
  const getrlimit = koffi.load(null).func("int getrlimit(int resource, _Out_ uint64_t *limits)");
  const limits = new BigUint64Array(2);
  const limit = (resource, value) => {
    getrlimit(resource, limits);
    if (setrlimit(resource, new BigUint64Array([value ?? limits[1], limits[1]])) !== 0) throw new Error("setrlimit");
  };
`;
const RLIMIT_AS = 9;
const RLIMIT_NPROC = 6;

test("While no thread can start, errors name the limits; arenas and memory operations work afterwards", {
  skip: needsRoot,
}, async (t) => {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o755);
  const file = path.join(directory, "file");
  writeFileSync(file, numberedBlocks(16));
  const source = `${DESCRIPTORS} ${LIMITS}
    const { Engine } = await import(PINLESS);
    // Libuv's pool ends the process where it can't start its threads.
    await Promise.all(Array.from({ length: 16 }, () => fs.promises.stat(file)));
    const engine = await Engine.open({ scheme: "aio" });
    const handle = await engine.openFile(file);
    limit(${RLIMIT_NPROC}, 1n);
    await refused("arena", () => engine.arena({ bytes: 4096 }));
    await refused("read", () => handle.read(Buffer.alloc(100), 0, 100, 1));
    limit(${RLIMIT_NPROC});
    await refused("later", () => handle.read(Buffer.alloc(100), 0, 100, 1));
    const arena = await engine.arena({ bytes: 4096 });
    const busy = count("task");
    said.push(["followed", engine.stats().degraded.join().includes("followed") ? "no" : "yes"]);
    await within("threads at rest to end", () => count("task") < busy);
    limit(${RLIMIT_NPROC}, 1n);
    await refused("discard", () => arena.discard());
    limit(${RLIMIT_NPROC});
    await refused("later", () => arena.discard());
    await refused("close", () => engine.close());
    console.log(JSON.stringify(said));
  `;
  const { code, stdout, stderr } = await runModule(source, { args: [file], wrapper: asOrdinaryUser(8 << 20) });
  assert.equal(code, 0, stderr);
  const said = JSON.parse(stdout) as Said[];
  assert.deepEqual(
    said.map(([what, how]) => [what, how]),
    [
      ["arena", "EAGAIN"],
      // What is copied needs no thread.
      ["read", "worked"],
      ["later", "worked"],
      ["followed", "yes"],
      ["discard", "EAGAIN"],
      ["later", "worked"],
      ["close", "worked"],
    ],
  );
  assert.match(said[0]![2]!, /"pinless-\w+" can't be started: .*pids\.max of the cgroup.*RLIMIT_NPROC \(ulimit -u\)/);
});

test("Engine.open without address space names the limit, and leaves nothing behind", async (t) => {
  const said = await withFewDescriptors(
    t,
    `
    ${LIMITS}
    const { Engine } = await import(PINLESS);
    await (await Engine.open()).close();
    const before = count("fd");
    const usedKiB = () => BigInt(/VmSize:\\s*(\\d+)/.exec(fs.readFileSync("/proc/self/status", "utf8"))[1]);
    // An engine takes 16 or 20 GiB, by the version of V8. 4 or 8 GiB are left: without address space Node itself ends.
    limit(${RLIMIT_AS}, (usedKiB() << 10n) + (68n << 30n));
    const engines = [];
    const sayWhy = (error) => refused("open", () => Promise.reject(error));
    while (engines.length < 20 && said.length === 0)
      await Engine.open().then((engine) => engines.push(engine), sayWhy);
    await refused("arena", () => engines[0].arena({ bytes: 1 << 30 }));
    for (const engine of engines) await engine.close();
    limit(${RLIMIT_AS});
    await refused("later", async () => (await Engine.open()).close());
    await within("descriptors", () => count("fd") <= before);
    `,
  );
  assert.deepEqual(said.at(-1), ["later", "worked"]);
  const refusals = said.slice(0, -1);
  assert.deepEqual(
    refusals.map(([what]) => what),
    ["open", "arena"],
  );
  for (const [, how, message] of refusals) {
    assert.equal(how, "ENOMEM", message);
    assert.match(message!, /RLIMIT_AS \(ulimit -v\)/);
  }
});

test("Engine.open in a bundle that lacks the files of its threads says what to do", async (t) => {
  const directory = scratchDirectory(t);
  const root = path.resolve(import.meta.dirname, "../..");
  cpSync(path.join(root, "dist"), path.join(directory, "dist"), { recursive: true });
  symlinkSync(path.join(root, "package.json"), path.join(directory, "package.json"));
  symlinkSync(path.join(root, "../../node_modules"), path.join(directory, "node_modules"));
  rmSync(path.join(directory, "dist/events/monitor-thread.js"));
  const { Engine, open } = (await import(pathToFileURL(path.join(directory, "dist/index.js")).href)) as {
    Engine: { open(): Promise<unknown> };
    open(path: string): Promise<unknown>;
  };
  const refused = {
    code: "ERR_PINLESS_UNSUPPORTED",
    message: /monitor-thread\.js, .* isn't beside .*esbuild: --external:pinless; rollup and vite: external/,
  };
  await assert.rejects(Engine.open(), refused);
  await assert.rejects(open(directory), refused);
});

test("close() goes on if a file can't be closed, and rejects with that error; so does a second call", async (t) => {
  const said = await withFewDescriptors(
    t,
    `
    const { Engine } = await import(PINLESS);
    const links = () => fs.readdirSync("/proc/self/fd").flatMap((fd) => {
      try { return [fs.readlinkSync("/proc/self/fd/" + fd)]; } catch { return []; }
    });
    const before = links().filter((link) => link.includes("io_uring")).length;
    const engine = await Engine.open();
    const arena = await engine.arena({ bytes: 1 << 20 });
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => engine.openFile(file)));
    await two.read(arena.alloc(4096), { position: 0 });
    fs.closeSync(one.fd);
    await refused("close", () => engine.close());
    await refused("again", () => engine.close());
    await within("the ring's end", () => links().filter((link) => link.includes("io_uring")).length <= before);
    said.push(["left open", String(links().filter((link) => link === file).length)]);
    try { arena.alloc(1); } catch ({ code }) { said.push(["arena", code]); }
    const another = await Engine.open();
    const files = await Promise.all([1, 2].map(() => another.openFile(file)));
    for (const each of files) fs.closeSync(each.fd);
    const failed = await another.close().catch((error) => error);
    said.push(["both", failed.code, failed.name + " " + failed.errors.map(({ code }) => code)]);
    `,
  );
  assert.deepEqual(
    said.map(([what, code, message]) => (what === "both" ? [what, code, message] : [what, code])),
    [
      ["close", "EBADF"],
      ["again", "EBADF"],
      ["left open", "0"],
      ["arena", "ERR_PINLESS_CLOSED"],
      ["both", "EBADF", "AggregateError EBADF,EBADF"],
    ],
  );
});
