/** pinless cp with obstacles: permissions, devices, full disks, Ctrl-C, changes; and its progress bar. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { asOrdinaryUser, runCommand } from "../../../pinless/dist-test/support/children.js";
import { disk, loopDevice, needsRoot } from "../../../pinless/dist-test/support/disks.js";
import { fuse, needsFuse } from "../../../pinless/dist-test/support/fuse.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { copies, coreutils, cp, listing, MAIN, shell } from "./compared.js";

const MIB = 1 << 20;

const PERMISSIONS = `
  umask 027; mkdir tree closed; echo open > tree/open; echo secret > tree/secret; chmod 0 tree/secret
  mkdir tree/locked tree/readable; echo inside > tree/readable/inside; chmod 751 tree/readable/inside
  chmod 555 tree/readable closed; chmod 0 tree/locked; mkdir -m 300 dark`;

test("without permission: the message, nothing left, and all else as by cp of coreutils", {
  skip: needsRoot,
}, async (t) => {
  const directory = scratchDirectory(t);
  chmodSync(directory, 0o777);
  const user = asOrdinaryUser(8 << 20);
  coreutils([...user, "bash", "-c", PERMISSIONS], directory);
  const copying = async (...args: readonly string[]): Promise<string> => {
    const names = args.map((name) => (name.startsWith("-") ? name : path.join(directory, name)));
    const { code, stderr } = await runCommand(["cp", ...names], { wrapper: user });
    assert.equal(code, 1, stderr);
    return stderr.replaceAll(`${directory}/`, "");
  };
  const before = listing(directory);
  const refused = "permission denied (EACCES)";
  assert.equal(await copying("tree/secret", "new"), `pinless cp: tree/secret to new: ${refused}, open\n`);
  assert.match(await copying("tree/open", "closed/new"), /^pinless cp: tree\/open to closed\/new: permission denied/);
  assert.equal(listing(directory), before);
  const onDevice = "its new names may not be on the device yet";
  assert.equal(await copying("tree/open", "dark/new"), `pinless cp: dark: ${onDevice}: ${refused}\n`);
  assert.equal(shell("cat dark/new", directory), "open\n");
  const complaints = (await copying("-r", "tree", "ours")).split("\n").sort();
  assert.deepEqual(complaints, [
    "",
    `pinless cp: tree/locked: ${refused}`,
    `pinless cp: tree/secret to ours/secret: ${refused}, open`,
  ]);
  assert.equal(coreutils([...user, "cp", "-r", "tree", "theirs"], directory).code, 1);
  assert.equal(listing(path.join(directory, "ours")), listing(path.join(directory, "theirs")));
});

test("devices: copied as devices with -r, read without it", { skip: needsRoot }, (t) => {
  const directory = scratchDirectory(t);
  shell("mkdir tree; mknod tree/character c 1 3; mknod -m 640 tree/block b 7 200; mkfifo -m 604 tree/fifo", directory);
  for (const flags of [["-r"], ["-r", "-p"]]) {
    copies([...flags, "tree", `ours${flags.length}`], directory);
    coreutils(["cp", ...flags, "tree", `theirs${flags.length}`], directory);
    const nodes = (of: string): string =>
      shell("stat -c '%n %F %t:%T %a %U' *", path.join(directory, `${of}${flags.length}`));
    assert.equal(nodes("ours"), nodes("theirs"));
  }
  const { device, file } = loopDevice(t, MIB + 512);
  shell(`head -c ${MIB + 512} /dev/urandom > ${file}; sync`, directory);
  const { code } = cp([device, "content"], directory);
  assert.equal(code, 0);
  shell(`cmp ${file} content`, directory);
});

test("files of /proc: longer than their size says, and one that can't be read", (t) => {
  const directory = scratchDirectory(t);
  copies(["/proc/kallsyms", "symbols"], directory);
  shell("cmp /proc/kallsyms symbols", directory);
  const before = listing(directory);
  const { code, stderr } = cp(["/proc/self/mem", "memory"], directory);
  assert.equal(code, 1);
  assert.match(stderr, /^pinless cp: \/proc\/self\/mem to memory: i\/o error \(EIO\), read\n$/);
  assert.equal(listing(directory), before);
});

test("a disk that gets full in a stream, or in a tree: nothing is left but whole copies", { skip: needsRoot }, (t) => {
  const { mount } = disk(t, "ext4", 64 * MIB, "memory");
  const directory = scratchDirectory(t);
  shell("mkdir tree; for i in {1..16}; do head -c 10M /dev/urandom > tree/$i; done; mkfifo fifo", directory);
  const before = listing(mount);
  shell("{ exec > /dev/null 2>&1; head -c 200M /dev/zero > fifo; } & disown", directory);
  const stream = cp(["fifo", path.join(mount, "file")], directory);
  assert.deepEqual([stream.code, listing(mount)], [1, before]);
  assert.match(stream.stderr, /no space left on device \(ENOSPC\), write\n$/);
  const tree = cp(["-r", "tree", path.join(mount, "tree")], directory);
  assert.equal(tree.code, 1);
  const copied = readdirSync(path.join(mount, "tree"));
  assert.equal(copied.length + tree.stderr.split("ENOSPC").length - 1, 16, tree.stderr);
  assert.ok(copied.length > 0);
  for (const name of copied) shell(`cmp tree/${name} ${mount}/tree/${name}`, directory);
});

function running(t: TestContext, command: string, args: readonly string[], cwd: string): ChildProcess {
  const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
  undoing(t, () => void child.kill("SIGKILL"));
  return child;
}

test("Ctrl-C in the midst of a file's blocks leaves nothing", { skip: needsFuse }, async (t) => {
  const source = await fuse(t, Buffer.alloc(64 * MIB, 1));
  const target = scratchDirectory(t);
  await source.hold("read");
  const child = running(t, process.execPath, [MAIN, "cp", source.file, path.join(target, "file")], target);
  const ended = once(child, "close");
  await until("reads and a temporary file", () => source.held > 0 && readdirSync(target).length === 1);
  child.kill("SIGINT");
  await until("the end", () => {
    source.go();
    return child.exitCode !== null;
  });
  assert.deepEqual(await ended, [130, null]);
  assert.deepEqual(readdirSync(target), []);
});

test("a source that shrinks meanwhile is said", {
  skip: needsFuse,
}, async (t) => {
  const source = await fuse(t, Buffer.alloc(3 * MIB, 1));
  const directory = scratchDirectory(t);
  await source.hold("read");
  const child = running(t, process.execPath, [MAIN, "cp", source.file, "file"], directory);
  const ended = once(child, "close");
  let said = "";
  child.stderr!.on("data", (text) => {
    said += text;
  });
  await until("reads", () => source.held > 0);
  writeFileSync(source.file, "short");
  await source.hold();
  source.go();
  assert.deepEqual(await ended, [1, null]);
  assert.match(said, /changed while it was copied/);
  assert.equal(readFileSync(path.join(directory, "file")).length, 3 * MIB);
});

/** Starts a copy of 8 FIFOs, as many as are copied at a time, and of a file that waits for its turn. */
async function waitingCopy(t: TestContext, program: (command: string) => readonly [string, readonly string[]]) {
  const directory = scratchDirectory(t);
  const pipes = Array.from({ length: 8 }, (_, i) => `fifo${i}`);
  shell(`mkfifo ${pipes.join(" ")}; head -c 3M /dev/urandom > file; mkdir target`, directory);
  const writers = pipes.map((pipe) => openSync(path.join(directory, pipe), "r+"));
  const command = `exec '${process.execPath}' '${MAIN}' cp ${pipes.join(" ")} file target`;
  const child = running(t, ...program(command), directory);
  const ended = once(child, "close");
  let shown = "";
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding("utf8").on("data", (text) => {
      shown += text;
    });
  await until("copies", () => readdirSync(path.join(directory, "target")).length === pipes.length);
  return {
    directory,
    feed: () => void writeSync(writers[0]!, "bytes"),
    shown: () => shown,
    async end(): Promise<unknown> {
      for (const writer of writers) closeSync(writer);
      return (await ended)[0];
    },
  };
}

test("a source that is replaced before its turn isn't copied", async (t) => {
  const copy = await waitingCopy(t, (command) => ["bash", ["-c", command]]);
  shell("echo other > other; mv other file", copy.directory);
  assert.equal(await copy.end(), 1);
  assert.equal(copy.shown(), "pinless cp: file to target/file: another file has taken its place\n");
  assert.equal(shell("ls -A target", copy.directory), Array.from({ length: 8 }, (_, i) => `fifo${i}\n`).join(""));
});

test("a terminal gets a progress bar with the rate and the time left, which goes at the end", async (t) => {
  const copy = await waitingCopy(t, (command) => ["script", ["-qefc", command, "/dev/null"]]);
  await until("the bar", () => {
    copy.feed();
    return /░ +0 % [\d.]+ (KiB|bytes)\/s, \d+:\d\d left/.test(copy.shown());
  });
  assert.equal(await copy.end(), 0);
  const [showCursor, clearLine] = ["[?25h", "[1G\u001b[2K"];
  assert.ok(copy.shown().includes(showCursor) && copy.shown().endsWith(clearLine), JSON.stringify(copy.shown()));
  shell("cmp file target/file", copy.directory);
});
