// Control sockets and their directory: which users can reach them, and when a process removes them.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { asOrdinaryUser, runModule } from "../../../pinless/dist-test/support/children.js";
import { needsRoot } from "../../../pinless/dist-test/support/disks.js";
import { pinnedBytes } from "../../../pinless/dist-test/support/proc.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { contents, LEASES, MIB, needsMemlock, ownRuntime, pinless, stranger, subject } from "./subject.js";

const BYTES = LEASES * 2 * MIB;

test("A process has sockets while it has engines, in a directory that only its user can access", {
  skip: needsMemlock,
}, async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run, leave } = await subject(t, runtime);
  assert.deepEqual(contents(runtime.directory), []);
  const both = await run<{ degraded: string[] }[]>("return Promise.all([hold(), hold()])");
  for (const { degraded } of both) assert.deepEqual(degraded, []);
  assert.deepEqual(contents(runtime.directory), [`${pid}-0.sock`]);
  assert.equal(statSync(runtime.directory).mode & 0o777, 0o700);
  await run("return engines[0].engine.close()");
  assert.deepEqual(contents(runtime.directory), [`${pid}-0.sock`]);
  await run("return engines[1].engine.close()");
  assert.equal(existsSync(runtime.directory), false);
  assert.match((await pinless(["release", pid], runtime)).stderr, /has no engine open/);
  // Again, and more often than a process takes listeners.
  await run("for (let i = 0; i < 15; i++) { await hold(); await engines.pop().engine.close(); } return hold()");
  assert.deepEqual(contents(runtime.directory), [`${pid}-0.sock`]);
  // A worker that's terminated, and one that ends by itself.
  const thread = await run<number>("globalThis.worker = await inWorker(); return worker.threadId");
  assert.deepEqual(contents(runtime.directory), [`${pid}-0.sock`, `${pid}-${thread}.sock`]);
  await run("return worker.terminate()");
  assert.deepEqual(contents(runtime.directory), [`${pid}-0.sock`]);
  // Neither a connection nor an open engine keeps the process alive.
  const operator = connect(path.join(runtime.directory, `${pid}-0.sock`));
  t.after(() => operator.destroy());
  await new Promise((resolve) => operator.once("connect", resolve));
  operator.write('{"ask":"stats"}\n');
  await new Promise((resolve) => operator.once("data", resolve));
  const { code, stderr } = await leave();
  assert.deepEqual([code, stderr], [0, ""]);
  assert.deepEqual(contents(runtime.directory), []);
});

test("process.exit() removes the socket; after SIGKILL the next engine does", async (t) => {
  const runtime = ownRuntime(t);
  const first = await subject(t, runtime);
  await first.run("return hold()");
  first.child.stdin!.write("process.exit(3)\n");
  assert.equal((await first.ended).code, 3);
  assert.equal(existsSync(runtime.directory), false);
  const second = await subject(t, runtime);
  await second.run("return hold()");
  const third = await subject(t, runtime);
  await third.run("return hold()");
  second.child.kill("SIGKILL");
  await second.ended;
  assert.deepEqual(contents(runtime.directory), [`${second.pid}-0.sock`, `${third.pid}-0.sock`].sort());
  const { code, stderr } = await pinless(["release", second.pid], runtime);
  assert.deepEqual([code, stderr], [1, `pinless release: ${second.pid}: no such process\n`]);
  const fourth = await subject(t, runtime);
  await fourth.run("return hold()");
  const alive = [`${third.pid}-0.sock`, `${fourth.pid}-0.sock`].sort();
  await until("the dead one is removed", () => contents(runtime.directory).join() === alive.join());
  assert.equal((await pinless(["release", third.pid, fourth.pid], runtime)).code, 0);
});

test("A process whose runtime directory others remove while it starts makes it again", async (t) => {
  const runtime = ownRuntime(t);
  // As if other processes left every 2 ms, often enough to come between mkdir(2) and bind(2) some times in 300.
  // rmdir(2) succeeds whenever no socket is in the directory.
  const leaving = `
    const { rmdirSync } = require("node:fs");
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (;; Atomics.wait(pause, 0, 0, 2)) try { rmdirSync(process.argv[1]) } catch {}`;
  const others = spawn(process.execPath, ["--eval", leaving, runtime.directory]);
  undoing(t, () => void others.kill("SIGKILL"));
  const source = `
    import { Engine } from PINLESS;
    const seen = new Set();
    for (let i = 0; i < 300; i++) {
      const engine = await Engine.open({ scheme: "direct", pin: "per-io", depth: 1 });
      for (const why of engine.stats().degraded) seen.add(why);
      await engine.close();
    }
    console.log(JSON.stringify([...seen]));
  `;
  const { stdout, stderr } = await runModule(source, { env: runtime.env });
  assert.deepEqual([JSON.parse(stdout || "null"), stderr], [[], ""]);
});

test("A dead socket with the process's own pid is replaced, a live one isn't", async (t) => {
  for (const isAlive of [false, true]) {
    const runtime = ownRuntime(t);
    const { pid, run } = await subject(t, runtime);
    const own = path.join(runtime.directory, `${pid}-0.sock`);
    mkdirSync(runtime.directory, { mode: 0o700 });
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(`${own}.other`, resolve));
    renameSync(`${own}.other`, own);
    if (isAlive) t.after(() => other.close());
    else await new Promise((resolve) => other.close(resolve));
    const { degraded } = await run<{ degraded: string[] }>("return hold()");
    const { code, stderr } = await pinless(["release", pid], runtime);
    if (!isAlive) assert.deepEqual([degraded, code], [[], 0]);
    else {
      assert.match(degraded.join("\n"), /operators can't reach this engine.*EADDRINUSE/);
      assert.equal(code, 1);
      // It's bound under another name, so it isn't even a candidate.
      assert.match(stderr, /has no engine open/);
    }
    rmSync(own, { force: true });
  }
});

test("A runtime directory that other users could access is refused, by the process and by the operator", async (t) => {
  const directoryOf = (mode: number) => (at: string) => {
    mkdirSync(at);
    chmodSync(at, mode);
  };
  const link = (at: string): void => {
    mkdirSync(`${at}-real`, { mode: 0o700 });
    symlinkSync(`${at}-real`, at);
  };
  const foreign = (at: string): void => {
    mkdirSync(at, { mode: 0o700 });
    chownSync(at, 4242, 4242);
  };
  const kinds: [string, (at: string) => void, RegExp][] = [
    ["others", directoryOf(0o755), /has mode 0755/],
    ["group", directoryOf(0o710), /has mode 0710/],
    ["file", (at) => writeFileSync(at, "", { mode: 0o700 }), /isn't a directory/],
    ["link", link, /is a symbolic link/],
  ];
  if (needsRoot === false) kinds.push(["owner", foreign, /belongs to user 4242, not to 0/]);
  for (const [kind, make, message] of kinds) {
    const runtime = ownRuntime(t);
    make(runtime.directory);
    const { pid, run } = await subject(t, runtime);
    const { degraded, leases } = await run<{ degraded: string[]; leases: { live: number } }>("return hold()");
    assert.match(degraded.join("\n"), message, kind);
    assert.match(degraded.join("\n"), /^operators can't reach this engine/, kind);
    assert.equal(leases.live, LEASES, `${kind}: the engine itself works`);
    const { code, stderr } = await pinless(["release", pid], runtime);
    assert.equal(code, 1, kind);
    assert.match(stderr, message, kind);
    await run("return engines[0].engine.close()");
    assert.equal(
      contents(path.dirname(runtime.directory)).includes("pinless"),
      true,
      `${kind}: it isn't ours to remove`,
    );
  }
});

test("If the runtime directory is missing, as after su, the user's own is used", async (t) => {
  const { env, directory } = ownRuntime(t);
  const temporary = path.dirname(directory);
  const runtime = { directory, env: { ...env, XDG_RUNTIME_DIR: path.join(temporary, "gone"), TMPDIR: temporary } };
  const { pid, run } = await subject(t, runtime);
  const { degraded } = await run<{ degraded: string[] }>("return hold()");
  assert.deepEqual(degraded, []);
  const own = needsRoot === false ? "/run/pinless" : path.join(temporary, `pinless-${process.getuid!()}`);
  assert.ok(contents(own).includes(`${pid}-0.sock`));
  assert.equal((await pinless(["release", pid], runtime)).code, 0);
  await run("return engines[0].engine.close()");
  assert.ok(!contents(own).includes(`${pid}-0.sock`));
});

test("A runtime directory that another process removes while an engine opens is made again", async (t) => {
  const { env, directory } = ownRuntime(t);
  const source = `
    import fs from "node:fs";
    import { syncBuiltinESMExports } from "node:module";
    import { Engine } from PINLESS;
    const { mkdirSync } = fs;
    let removed = 0;
    fs.mkdirSync = (at, ...rest) => {
      mkdirSync(at, ...rest);
      if (at === process.env.DIRECTORY && removed++ === 0) fs.rmdirSync(at);
    };
    syncBuiltinESMExports();
    const engine = await Engine.open({ scheme: "direct", pin: "per-io", depth: 1 });
    console.log(JSON.stringify([removed, engine.stats().degraded]));
    await engine.close();
  `;
  const { stdout, stderr } = await runModule(source, { env: { ...env, DIRECTORY: directory } });
  assert.deepEqual(JSON.parse(stdout || "null"), [2, []], stderr);
});

test("pinless release refuses a directory that was opened to other users after the process's check", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  const before = pinnedBytes(pid);
  await run("return hold()");
  chmodSync(runtime.directory, 0o777);
  const { code, stderr } = await pinless(["release", pid], runtime);
  assert.equal(code, 1);
  assert.match(stderr, /has mode 0777: change it to 0700/);
  assert.equal(pinnedBytes(pid), before + BYTES);
  chmodSync(runtime.directory, 0o700);
  assert.equal((await pinless(["release", pid], runtime)).code, 0);
});

test("pinless release refuses a socket that isn't the process's own", async (t) => {
  const runtime = ownRuntime(t);
  const pid = await stranger(t);
  mkdirSync(runtime.directory, { mode: 0o700 });
  const impostor = createServer((socket) => socket.on("error", () => {}).write('{"engines":[]}\n'));
  await new Promise<void>((resolve) => impostor.listen(path.join(runtime.directory, `${pid}-0.sock`), resolve));
  t.after(() => impostor.close());
  const { code, stdout, stderr } = await pinless(["release", pid], runtime);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, new RegExp(`${pid}-0.sock belongs to process ${process.pid}`));
});

test("A user reaches no process of another user; root reaches all", { skip: needsRoot }, async (t) => {
  const user = asOrdinaryUser(8 * MIB);
  const uid = Number(/--reuid=(\d+)/.exec(user.join(" "))![1]);
  const theirs = ownRuntime(t, uid);
  const ours = ownRuntime(t);
  const [their, our] = [await subject(t, theirs, { wrapper: user }), await subject(t, ours)];
  await their.run("return hold()");
  await our.run("return hold()");
  const asUser = await pinless(["release", their.pid, our.pid], { ...theirs, wrapper: user });
  assert.equal(asUser.code, 1);
  assert.match(asUser.stdout, new RegExp(`^${their.pid}: ${LEASES} leases`));
  assert.match(
    asUser.stderr,
    new RegExp(
      `^pinless release: ${our.pid}: belongs to user 0, and you are user ${uid}: ask as its user or as root\n$`,
    ),
  );
  const top = await pinless(["top", "--once", our.pid], { ...theirs, wrapper: user });
  assert.deepEqual(
    [top.code, top.stderr],
    [1, `pinless top: ${our.pid}: belongs to user 0, and you are user ${uid}: ask as its user or as root\n`],
  );
  // A guessed path doesn't connect either.
  const guess = `require("node:net").connect(process.argv[1]).on("error", ({ code }) => console.log(code))`;
  const [command, ...args] = [
    ...user,
    process.execPath,
    "--eval",
    guess,
    path.join(ours.directory, `${our.pid}-0.sock`),
  ];
  assert.equal(execFileSync(command!, args, { encoding: "utf8" }), "EACCES\n");
  // Nor does it after the directories were opened to all users.
  for (const each of [path.dirname(ours.directory), ours.directory, args.at(-1)!]) chmodSync(each, 0o777);
  args[args.indexOf(guess)] =
    `require("node:net").connect(process.argv[1]).on("data", (text) => console.log(String(text)))
      .on("error", () => {}).on("close", () => console.log("closed")).write('{"ask":"stats"}\\n')`;
  assert.equal(execFileSync(command!, args, { encoding: "utf8" }), "closed\n");
  chmodSync(ours.directory, 0o700);
  // Another user binds a socket with the process's name in a directory that this user can't read.
  const fake = path.join(scratchDirectory(t), "pinless");
  mkdirSync(fake, { mode: 0o700 });
  const impostor = createServer();
  await new Promise<void>((resolve) => impostor.listen(path.join(fake, `${their.pid}-0.sock`), resolve));
  undoing(t, () => void impostor.close());
  assert.equal((await pinless(["release", their.pid], { ...theirs, wrapper: user })).code, 0);
  impostor.close();
  await their.run("return read(engines[0])");
  const asRoot = await pinless(["release", their.pid, our.pid], ours);
  assert.equal(asRoot.code, 0, asRoot.stderr);
  assert.equal(asRoot.stdout.split("\n").length, 3);
});
