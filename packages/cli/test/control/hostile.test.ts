// Hostile answers of a process to an operator, and hostile operators of a process: neither does harm.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { splitLines } from "../../../pinless/dist/control/control-protocol.js";
import { converse } from "../../../pinless/dist/control/conversation.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { readReleased, readStats } from "../../dist/control/answers.js";
import { contents, LEASES, ownRuntime, pinless, type Runtime, subject } from "./subject.js";

/** Text that would take over a terminal: its title, its screen, the order of its text, a line of its own. */
const TAKEOVER = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202eliame\u2028pinless release: 1: all is well\u007f";
/** Everything that isn't seen, but for ends of lines. */
const UNSEEN = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/** A process with a socket in the place of an engine's; `source`: a function of the connection, called when asked. */
async function impostor(t: TestContext, { directory }: Runtime, source: string): Promise<number> {
  const script = `
    const server = require("node:net").createServer((socket) => {
      socket.on("error", () => {}).once("data", () => { (${source})(socket); });
    });
    server.listen(process.argv[1] + "/" + process.pid + "-0.sock", () => console.log("ready"));`;
  const child: ChildProcess = spawn(process.execPath, ["--eval", script, directory], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  undoing(t, () => void child.kill("SIGKILL"));
  await once(child.stdout!, "data");
  return child.pid!;
}

const says = (value: unknown): string => `(socket) => socket.write(${JSON.stringify(`${JSON.stringify(value)}\n`)})`;
const engine = { engine: 0, scheme: "io_uring", pin: "lease", leases: 1, bytes: 1 };
const IMPOSTORS: Record<string, readonly [source: string, message: RegExp]> = {
  null: [says(null), /its "answer" isn't an object, but null/],
  "no list": [says({ engines: "none" }), /its "engines" isn't a list, but "none"/],
  "no engines": [says({ engines: [null] }), /its "engines" isn't an object, but null/],
  "words that take over": [says({ engines: [{ ...engine, scheme: TAKEOVER }] }), /its "scheme" isn't a word/],
  "a refusal that takes over": [says({ error: TAKEOVER }), /\\x1b\]0;owned\\x07/],
  "a refusal without a reason": [says({ error: {} }), /its "error" isn't text/],
  "no number": [says({ engines: [{ ...engine, leases: "many" }] }), /its "leases" isn't a whole number/],
  "many engines": [
    `(socket) => socket.write(JSON.stringify({ engines: Array(2000).fill({}) }) + "\\n")`,
    /has 2000 entries; at most 1024 are accepted/,
  ],
  "no JSON": [`(socket) => socket.write("nonsense\\n")`, /gave an answer that can't be understood/],
  "no end": [
    `(socket) => { const more = () => socket.write("x".repeat(1 << 16), more); more(); }`,
    /a line of more than 1048576/,
  ],
  silence: ["() => {}", /no answer within 5 s/],
  "a byte at a time": [`(socket) => setInterval(() => socket.write("x"), 1)`, /no answer within 5 s/],
  "the end": ["(socket) => socket.destroy()", /closed its last engine, or ended/],
};

test("pinless release goes on after any answer of a process, and escapes it for the terminal", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("return hold()");
  const pids = new Map<string, number>();
  for (const [kind, [source]] of Object.entries(IMPOSTORS)) pids.set(kind, await impostor(t, runtime, source));
  const args = ["release", "--timeout", 5, ...pids.values(), pid];
  const { code, stdout, stderr } = await pinless(args, runtime);
  assert.equal(code, 1);
  assert.match(stdout, new RegExp(`^${pid}: ${LEASES} leases, .* given back \\(io_uring, lease\\)\n$`));
  for (const [kind, [, message]] of Object.entries(IMPOSTORS)) {
    const said = stderr.split("\n").find((line) => line.startsWith(`pinless release: ${pids.get(kind)}: `));
    assert.match(said ?? "", message, `${kind}: ${said}`);
  }
  assert.equal(stderr.split("\n").length, pids.size + 1, stderr);
  assert.doesNotMatch(stdout + stderr, UNSEEN);
  const json = await pinless(["release", "--json", pids.get("null")!, pids.get("a refusal that takes over")!], runtime);
  assert.doesNotMatch(json.stdout, UNSEEN);
  const failed: { pid: number; message: string }[] = JSON.parse(json.stdout).failed;
  assert.equal(failed.length, 2);
  // JSON has the message as it was.
  assert.equal(failed.find((each) => each.pid === pids.get("a refusal that takes over"))!.message, TAKEOVER);
});

test("pinless top says that it can't understand a process", async (t) => {
  const runtime = ownRuntime(t);
  mkdirSync(runtime.directory, { mode: 0o700 });
  for (const kind of ["null", "words that take over", "a refusal that takes over"]) {
    const pid = await impostor(t, runtime, IMPOSTORS[kind]![0]);
    const { code, stdout, stderr } = await pinless(["top", "--delay", 0.1, pid], runtime);
    assert.deepEqual([code, stdout], [1, ""], kind);
    assert.match(stderr, new RegExp(`^pinless top: ${pid}: .*\n$`), kind);
    assert.doesNotMatch(stderr, UNSEEN, kind);
  }
});

test("Text from an engine is shown with invisible characters escaped", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run(`await hold(); engines[0].engine.stats().degraded; return 0`);
  const stats = await run<Record<string, unknown>>("return engines[0].engine.stats()");
  mkdirSync(runtime.directory, { mode: 0o700, recursive: true });
  const answer = { engines: [{ engine: 0, ...stats, degraded: [TAKEOVER], odd: TAKEOVER }] };
  const source = `(socket) => { const say = ${says(answer)}; say(socket); socket.on("data", () => say(socket)); }`;
  const other = await impostor(t, runtime, source);
  const text = await pinless(["top", "--once", "--delay", 0.1, other], runtime);
  assert.equal(text.code, 0, text.stderr);
  assert.match(text.stdout, /^! \\x1b\]0;owned\\x07\\x1b\[2J\\x9b31m\\u202eliame\\u2028pinless/m);
  assert.doesNotMatch(text.stdout, UNSEEN);
  const json = await pinless(["top", "--once", "--json", "--delay", 0.1, other], runtime);
  assert.doesNotMatch(json.stdout, UNSEEN);
  const [shown] = JSON.parse(json.stdout).threads[0].engines;
  assert.deepEqual([shown.degraded, "odd" in shown], [[TAKEOVER], false]);
  assert.equal((await pinless(["top", "--once", "--delay", 0.1, pid], runtime)).code, 0);
});

test("answers of the wrong shape are refused", () => {
  for (const answer of [undefined, null, 1, "text", [], {}, { engines: {} }, { engines: [[]] }, { engines: [{}] }]) {
    assert.throws(() => readStats(answer), { name: "BadAnswer" }, JSON.stringify(answer));
    assert.throws(() => readReleased(answer), { name: "BadAnswer" }, JSON.stringify(answer));
  }
  for (const wrong of [-1, 0.5, 2 ** 53, null, "1", Number.NaN])
    assert.throws(() => readReleased({ engines: [{ ...engine, bytes: wrong }] }), { name: "BadAnswer" });
  assert.deepEqual(readReleased({ engines: [{ ...engine, more: 1 }], more: 1 }), { engines: [engine] });
});

test("splitLines joins the pieces of a line; a line that is too long is refused before its end", () => {
  const lines: string[] = [];
  const take = splitLines(5, (line) => lines.push(line));
  for (const piece of ["a", "", "b\n\ncd", "e\nf", "\n"]) take(piece);
  assert.deepEqual(lines, ["ab", "", "cde", "f"]);
  take("1234");
  assert.throws(() => take("56"), /a line of more than 5/);
  assert.throws(() => splitLines(5, () => {})("123456\n"), /a line of more than 5/);
});

/** Both ends of a connection whose questions are answered so. */
async function conversation(
  t: TestContext,
  answer: (line: string) => Promise<object>,
  patienceMs: number,
): Promise<{ asker: Socket; served: Socket }> {
  const at = path.join(scratchDirectory(t), "socket");
  const server = createServer();
  const served = once(server, "connection") as Promise<[Socket]>;
  server.listen(at);
  undoing(t, () => void server.close());
  await once(server, "listening");
  const asker = connect(at);
  undoing(t, () => void asker.destroy());
  const [socket] = await served;
  socket.on("error", () => {});
  asker.on("error", () => {});
  converse(socket, answer, { patienceMs, restMs: 0 });
  return { asker, served: socket };
}

const QUESTION = '{"ask":"stats"}\n';

test("A client that asks but reads no answers is disconnected after a few answers", async (t) => {
  let answers = 0;
  const answer = async (): Promise<object> => ({ answer: ++answers, filler: "x".repeat(1000) });
  const { asker, served } = await conversation(t, answer, 100);
  asker.pause().write(QUESTION.repeat(100_000));
  await until("the connection to be closed", () => served.destroyed);
  // The kernel's buffer takes some answers, though the other side doesn't read.
  assert.ok(answers > 10 && answers < 2000, `${answers} answers`);
  assert.ok(served.writableLength < 100_000, `${served.writableLength} bytes wait`);
});

test("While an answer is made no more questions are read; all are answered, in order", async (t) => {
  let most = 0;
  let now = 0;
  let answers = 0;
  const { asker, served } = await conversation(
    t,
    async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setImmediate(resolve));
      now--;
      return { answer: answers++ };
    },
    60_000,
  );
  const lines: number[] = [];
  const take = splitLines(100, (line) => lines.push(JSON.parse(line).answer));
  asker.setEncoding("utf8").on("data", take);
  asker.write(QUESTION.repeat(500));
  await until("all answers", () => lines.length === 500);
  assert.deepEqual(
    lines,
    Array.from({ length: 500 }, (_, i) => i),
  );
  assert.deepEqual([most, served.destroyed], [1, false]);
});

test("Connections that ask nothing don't keep an operator out", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("return hold()");
  const sockets: Socket[] = [];
  undoing(t, () => {
    for (const socket of sockets) socket.destroy();
  });
  let closed = 0;
  for (let i = 0; i < 100; i++) {
    const socket = connect(path.join(runtime.directory, `${pid}-0.sock`));
    socket.on("error", () => {}).on("close", () => closed++);
    sockets.push(socket);
    await once(socket, "connect");
  }
  await until("most are sent away", () => closed >= 60);
  assert.equal((await pinless(["release", pid], runtime)).code, 0);
});

test("If a runtime directory makes a socket's path too long, another directory is used", async (t) => {
  const { directory } = ownRuntime(t);
  const parent = path.dirname(directory);
  for (const bytes of [80, 88, 89, 150]) {
    const long = path.join(parent, "d".repeat(Math.max(1, bytes - parent.length - "//pinless".length)));
    mkdirSync(long, { recursive: true, mode: 0o700 });
    const runtime = { directory: path.join(long, "pinless"), env: { XDG_RUNTIME_DIR: long } };
    const { pid, run, leave } = await subject(t, runtime);
    const { degraded } = await run<{ degraded: string[] }>("return hold()");
    assert.deepEqual(degraded, [], `${bytes}`);
    const name = `${pid}-0.sock`;
    const isShort = Buffer.byteLength(path.join(runtime.directory, name)) <= 107;
    assert.deepEqual(contents(runtime.directory), isShort ? [name] : []);
    assert.deepEqual(contents(long), isShort ? ["pinless"] : []);
    const { code, stderr } = await pinless(["release", pid], runtime);
    assert.deepEqual([code, stderr], [0, ""], `${bytes}`);
    await leave();
    assert.deepEqual(contents(long), [], "nothing is left behind");
  }
});
