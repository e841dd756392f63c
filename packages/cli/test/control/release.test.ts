// `pinless release`, against processes that hold leases for an hour.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, createServer } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { asOrdinaryUser } from "../../../pinless/dist-test/support/children.js";
import { needsRoot } from "../../../pinless/dist-test/support/disks.js";
import { pinnedBytes } from "../../../pinless/dist-test/support/proc.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { contents, hasTools, LEASES, MIB, needsMemlock, ownRuntime, pinless, stranger, subject } from "./subject.js";

const BYTES = LEASES * 2 * MIB;
const needsNamespaces = needsRoot || (hasTools("unshare", "nsenter") ? false : "machine: no unshare or no nsenter");

test("pinless release gives the leases of a process back, and its I/O goes on", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  const before = pinnedBytes(pid);
  await run("return hold()");
  assert.equal(pinnedBytes(pid), before + BYTES);
  const { code, stdout, stderr } = await pinless(["release", pid], runtime);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.equal(stdout, `${pid}: ${LEASES} leases, ${BYTES / MIB}.0 MiB given back (io_uring, lease)\n`);
  assert.equal(pinnedBytes(pid), before);
  await run("return read(engines[0])");
  assert.equal(pinnedBytes(pid), before + BYTES);
  const json = await pinless(["release", "--json", pid, pid], runtime);
  const engine = { pid, thread: 0, engine: 0, scheme: "io_uring", pin: "lease", leases: LEASES, bytes: BYTES };
  assert.deepEqual(JSON.parse(json.stdout), { released: [engine], failed: [] });
  assert.equal(pinnedBytes(pid), before);
});

test("pinless release asks every engine of every thread, and ends registrations for life", {
  skip: needsMemlock,
}, async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run(
    "await hold(); await hold({ pin: 'lifetime' }); globalThis.worker = await inWorker(); return worker.threadId",
  );
  const { code, stdout } = await pinless(["release", pid], runtime);
  assert.equal(code, 0);
  assert.deepEqual(stdout.split("\n"), [
    `${pid}: ${LEASES} leases, 4.0 MiB given back (io_uring, lease)`,
    `${pid} engine 1: 1 registrations, 4.0 MiB given back (io_uring, lifetime)`,
    stdout.split("\n")[2],
    "",
  ]);
  assert.match(stdout, new RegExp(`^${pid} thread \\d+: 0 leases, 0.0 MiB given back`, "m"));
});

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
  // Somebody who is connected doesn't keep the process alive, nor does the engine that is open.
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
    ["everybody", directoryOf(0o755), /has mode 0755/],
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
    assert.equal(leases.live, LEASES, `${kind}: the engine itself is as ever`);
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

test("pinless release says which process can't be reached and why, and releases the others", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("return hold()");
  const other = await stranger(t);
  const thread = readdirSync(`/proc/${pid}/task`).find((each) => Number(each) !== pid)!;
  assert.match((await pinless(["release", thread], runtime)).stderr, /: no such process\n$/);
  // It has ended, but its parent doesn't wait for it.
  const parent = await stranger(t, ["sh", "-c", 'sleep 0 & exec "$@"', "sh"]);
  const zombies = (): string => readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim();
  await until(
    "a zombie",
    () => zombies() !== "" && /^State:\s*Z/m.test(readFileSync(`/proc/${zombies()}/status`, "utf8")),
  );
  assert.match((await pinless(["release", zombies()], runtime)).stderr, /: no such process\n$/);
  const { code, stdout, stderr } = await pinless(["release", 4_194_304, other, pid], runtime);
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`^${pid}: ${LEASES} leases`));
  assert.equal(
    stderr,
    `pinless release: ${other}: isn't a pinless process, or has no engine open\n` +
      "pinless release: 4194304: no such process\n",
  );
  const json = JSON.parse((await pinless(["release", "--json", 4_194_304], runtime)).stdout);
  assert.deepEqual(json, { released: [], failed: [{ pid: 4_194_304, code: "ESRCH", message: "no such process" }] });
});

test("pinless release waits for a busy event loop, and reports it after the timeout", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  const before = pinnedBytes(pid);
  await run("return hold()");
  const free = path.join(scratchDirectory(t), "free");
  const blocked = run(`blockUntil(${JSON.stringify(free)})`);
  const { code, stdout, stderr } = await pinless(["release", "--timeout", 0.5, pid], runtime);
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, new RegExp(`^pinless release: ${pid}: no answer within 0.5 s: its event loop is busy`));
  assert.equal(pinnedBytes(pid), before + BYTES);
  const patient = pinless(["release", "--timeout", 60, pid], runtime);
  writeFileSync(free, "");
  await blocked;
  assert.equal((await patient).code, 0);
  assert.equal(pinnedBytes(pid), before);
});

test("The socket answers an invalid question with an error, and goes on", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("return hold()");
  const socket = connect(path.join(runtime.directory, `${pid}-0.sock`)).setEncoding("utf8");
  t.after(() => socket.destroy());
  let said = "";
  socket.on("data", (text) => {
    said += text;
  });
  socket.write('nonsense\n{"ask":"signal"}\nnull\n{"ask":"st');
  await until("three answers", () => said.split("\n").length === 4);
  // Answers come in the order of the questions, though this one takes turns of the loop and the next doesn't.
  socket.write('ats"}\n{"ask":"release"}\n{"ask":"stats"}\n');
  await until("six answers", () => said.split("\n").length === 7);
  const [nonsense, unknown, nothing, stats, released, after] = said.split("\n", 6).map((line) => JSON.parse(line));
  for (const { error } of [nonsense, nothing]) assert.equal(typeof error, "string");
  assert.equal(unknown.error, `this version of pinless doesn't know the question "signal"`);
  assert.equal(stats.engines[0].leases.live, LEASES);
  assert.equal(released.engines[0].leases, LEASES);
  assert.equal(after.engines[0].leases.live, 0);
  // Somebody who never ends a line is sent away.
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  socket.write("x".repeat(3 << 20));
  await closed;
  assert.equal((await pinless(["release", pid], runtime)).code, 0);
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
  // Whoever guesses the path doesn't get there either.
  const guess = `require("node:net").connect(process.argv[1]).on("error", ({ code }) => console.log(code))`;
  const [command, ...args] = [
    ...user,
    process.execPath,
    "--eval",
    guess,
    path.join(ours.directory, `${our.pid}-0.sock`),
  ];
  assert.equal(execFileSync(command!, args, { encoding: "utf8" }), "EACCES\n");
  // Not even if the directories were opened to everybody afterwards.
  for (const each of [path.dirname(ours.directory), ours.directory, args.at(-1)!]) chmodSync(each, 0o777);
  args[args.indexOf(guess)] =
    `require("node:net").connect(process.argv[1]).on("data", (text) => console.log(String(text)))
      .on("error", () => {}).on("close", () => console.log("closed")).write('{"ask":"stats"}\\n')`;
  assert.equal(execFileSync(command!, args, { encoding: "utf8" }), "closed\n");
  chmodSync(ours.directory, 0o700);
  // Somebody binds a socket with its name where it can't even look.
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

// In a network of their own, so that no other process of the machine is among all.
test("pinless release --all reaches every process of the user; for root, of every user", {
  skip: needsNamespaces,
}, async (t) => {
  const user = asOrdinaryUser(8 * MIB);
  const theirs = ownRuntime(t, Number(/--reuid=(\d+)/.exec(user.join(" "))![1]));
  const ours = ownRuntime(t);
  const first = await subject(t, ours, { wrapper: ["unshare", "--net"] });
  const inside = ["nsenter", `--net=/proc/${first.pid}/ns/net`];
  const nobody = await pinless(["release", "--all"], { ...ours, wrapper: inside });
  assert.deepEqual([nobody.code, nobody.stdout], [0, "no process with an engine\n"]);
  const second = await subject(t, ours, { wrapper: inside });
  const third = await subject(t, theirs, { wrapper: [...inside, ...user] });
  const all = [first, second, third];
  for (const each of all) await each.run("return hold()");
  // Somebody who binds a name isn't that process.
  const fake = scratchDirectory(t);
  chmodSync(fake, 0o755);
  mkdirSync(path.join(fake, "pinless"), { mode: 0o777 });
  const [command, ...args] = [...inside, ...user, process.execPath, "--eval"];
  const impostor = `require("node:net").createServer().listen(process.argv[1], () => console.log("listening"))`;
  chmodSync(path.join(fake, "pinless"), 0o777);
  const faker = spawn(command!, [...args, impostor, path.join(fake, "pinless", `${process.pid}-0.sock`)]);
  undoing(t, () => void faker.kill("SIGKILL"));
  await new Promise((resolve) => faker.stdout.once("data", resolve));
  const pidsOf = (text: string): number[] => {
    const { released, failed } = JSON.parse(text) as { released: { pid: number; leases: number }[]; failed: unknown[] };
    assert.deepEqual(failed, []);
    return released.filter(({ leases }) => leases === LEASES).map(({ pid }) => pid);
  };
  const asUser = await pinless(["release", "--all", "--json"], { ...theirs, wrapper: [...inside, ...user] });
  assert.deepEqual([asUser.code, pidsOf(asUser.stdout)], [0, [third.pid]]);
  await third.run("return read(engines[0])");
  const asRoot = await pinless(["release", "--all", "--json"], { ...ours, wrapper: inside });
  assert.deepEqual([asRoot.code, pidsOf(asRoot.stdout)], [0, all.map(({ pid }) => pid).sort((a, b) => a - b)]);
});

test("pinless release reaches into a container: other namespaces of processes, files and network", {
  skip: needsNamespaces,
}, async (t) => {
  const runtime = ownRuntime(t);
  const place = path.dirname(runtime.directory);
  // Seen from outside, there's nothing at that path.
  const wrapper = [
    "unshare",
    "--net",
    "--pid",
    "--fork",
    "--mount-proc",
    "sh",
    "-c",
    `mount -t tmpfs -o mode=700 x ${place}; exec "$0" "$@"`,
  ];
  const { pid, run } = await subject(t, runtime, { wrapper });
  assert.equal(await run("return process.pid"), 1);
  await run("return hold()");
  assert.deepEqual(contents(place), []);
  const { code, stdout, stderr } = await pinless(["release", pid], runtime);
  assert.deepEqual([code, stderr], [0, ""]);
  assert.match(stdout, new RegExp(`^${pid}: ${LEASES} leases`));
});

test("pinless release: wrong usage", async () => {
  for (const args of [[], ["x"], ["-1"], ["1.5"], ["--all", "1"], ["--timeout", "0", "1"]]) {
    const { code, stdout, stderr } = await pinless(["release", ...args]);
    assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    assert.notEqual(stderr, "");
  }
});
