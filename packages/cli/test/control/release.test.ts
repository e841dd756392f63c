// `pinless release`, against processes that hold leases for an hour.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
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
  // The process closes a connection whose line never ends.
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  socket.write("x".repeat(3 << 20));
  await closed;
  assert.equal((await pinless(["release", pid], runtime)).code, 0);
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
  const none = await pinless(["release", "--all"], { ...ours, wrapper: inside });
  assert.deepEqual([none.code, none.stdout], [0, "no process with an engine\n"]);
  const second = await subject(t, ours, { wrapper: inside });
  const third = await subject(t, theirs, { wrapper: [...inside, ...user] });
  const all = [first, second, third];
  for (const each of all) await each.run("return hold()");
  // A socket with a process's name that another process bound is left out.
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
