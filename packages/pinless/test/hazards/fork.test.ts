// Children that are started under I/O, in every way that Node has: they inherit no descriptor of an engine, and I/O
// stays right.
import assert from "node:assert/strict";
import { closeSync, constants, openSync, readSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { ioUringOff } from "../support/io-uring.js";
import { namedPipe, scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
/** Bytes that go through a pipe at the same time. */
const STREAM_BYTES = MIB;

/** Source of a child that reports its open descriptors to its parent. */
const CHILD = `
  const { readdirSync, readlinkSync } = require("node:fs");
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync("/proc/self/fd/" + fd);
    } catch {
      return "";
    }
  });
  process.send(links, () => process.disconnect());
`;

/**
 * Reads and writes files and a pipe, and starts children as it goes: each says what descriptors it has. \`leak\`:
 * a descriptor that every child gets.
 */
const SOURCE = `
  import { execFile, fork, spawn, spawnSync } from "node:child_process";
  import { once } from "node:events";
  import { readFileSync } from "node:fs";
  import koffi from "koffi";
  import { Engine } from PINLESS;
  const [name, pipe, child, scheme, leak] = process.argv.slice(1);
  const engine = await Engine.open({ scheme, depth: 32, lease: { idle: 3_600_000, max: 3_600_000 } });
  const arena = await engine.arena({ bytes: ${8 * MIB} });
  const memory = arena.alloc(${8 * MIB});
  const file = await engine.openFile(name, "r+");
  const stream = await engine.openFile(pipe, "r+");
  const unopened = await engine.openFile("/dev/null", "r+");
  if (leak === "leak") koffi.load(null).func("int dup(int fd)")(file.fd);
  const expected = readFileSync(name);
  let [wrong, answered, over] = [0, 0, false];
  const right = (buffer, position) => {
    answered++;
    if (Buffer.compare(buffer, expected.subarray(position, position + buffer.byteLength)) !== 0) wrong++;
  };
  const load = async (chunk) => {
    for (let i = 0; !over; i++) {
      const position = 65536 * (i % 2);
      const buffer = memory.subarray(chunk * ${MIB}, chunk * ${MIB} + 65536).fill(0);
      await file.read(buffer, { position });
      right(buffer, position);
      await file.write(buffer, { position });
      const part = Buffer.alloc(100);
      await file.read(part, { position: 1 + i });
      right(part, 1 + i);
    }
  };
  const source = memory.subarray(${7 * MIB}, ${7 * MIB + STREAM_BYTES});
  for (let i = 0; i < source.byteLength; i++) source[i] = 1 + (i % 251);
  const writing = stream.write(source);
  const loads = [0, 1, 2, 3].map(load);
  const LOOK = "ls -l /proc/self/fd || true";
  const text = async (child) => {
    let said = "";
    child.stdout.on("data", (more) => (said += more));
    const [code] = await once(child, "close");
    if (code !== 0) throw new Error("exit " + code);
    return said;
  };
  const said = [];
  for (let round = 0; round < 5; round++) {
    said.push(await text(spawn("sh", ["-c", LOOK], { stdio: ["ignore", "pipe", "inherit"] })));
    said.push(spawnSync("sh", ["-c", LOOK], { encoding: "utf8" }).stdout);
    const byExecFile = (done) => execFile("sh", ["-c", LOOK], done);
    said.push(await new Promise((resolve, reject) => byExecFile((e, out) => (e ? reject(e) : resolve(out)))));
  }
  const node = fork(child, { execArgv: [] });
  const [forked] = await Promise.race([once(node, "message"), once(node, "exit")]);
  over = true;
  await Promise.all(loads);
  const { bytesWritten } = await writing;
  const { failed, leases } = engine.stats();
  await unopened.close();
  await engine.close();
  console.log(JSON.stringify({ said, forked, wrong, answered, failed, bytesWritten, taken: leases.taken }));
`;

interface Said {
  readonly said: readonly string[];
  readonly forked: readonly string[];
  readonly wrong: number;
  readonly answered: number;
  readonly failed: number;
  readonly bytesWritten: number;
  readonly taken: number;
}

const skip = ioUringOff();

for (const [scheme, leak] of [
  ["io_uring", ""],
  ["io_uring", "leak"],
  ["aio", ""],
] as const) {
  const name =
    leak === ""
      ? `${scheme}: children that are started under I/O get no descriptor of ours, and no byte is wrong`
      : `${scheme}: a descriptor that is left to children is seen in every one (control)`;
  test(name, { skip: scheme === "io_uring" && skip, timeout: 180_000 }, async (t) => {
    const directory = scratchDirectory(t);
    const [file, child] = [path.join(directory, "file"), path.join(directory, "child.cjs")];
    writeFileSync(file, numberedBlocks(64));
    writeFileSync(child, CHILD);
    const pipe = namedPipe(t);
    const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    undoing(t, () => closeSync(fd));
    const got: Buffer[] = [];
    let [over, bytes] = [false, 0];
    const drained = until("the pipe's bytes", () => {
      const part = Buffer.alloc(65_536);
      try {
        const count = readSync(fd, part);
        bytes += count;
        got.push(part.subarray(0, count));
      } catch (error) {
        assert.equal((error as { code: string }).code, "EAGAIN");
      }
      return over || bytes >= STREAM_BYTES;
    });
    const ended = await runModule(SOURCE, { args: [file, pipe, child, scheme, leak] }).finally(() => {
      over = true;
    });
    assert.deepEqual([ended.code, ended.signal], [0, null], ended.stderr);
    const said = JSON.parse(ended.stdout) as Said;
    await drained;
    const all = Buffer.concat(got);
    assert.deepEqual([said.wrong, said.failed, said.bytesWritten, all.byteLength], [0, 0, STREAM_BYTES, STREAM_BYTES]);
    assert.equal(
      all.findIndex((byte, i) => byte !== 1 + (i % 251)),
      -1,
    );
    assert.ok(said.answered > 0 && (scheme === "aio" || said.taken > 0));
    const ours = new RegExp(`io_uring|userfaultfd|eventfd|eventpoll|${file}|${pipe}|/dev/ptmx`);
    const theirs = said.said.map((text) => text.split("\n").filter((link) => ours.test(link)));
    // A Node has rings and the like of its own.
    const given = said.forked.filter((link) => link === file || link === pipe);
    const leaked = leak === "" ? 0 : 1;
    assert.deepEqual([...theirs.map((links) => links.length), given.length], new Array(16).fill(leaked), ended.stdout);
  });
}
