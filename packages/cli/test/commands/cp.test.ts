// pinless cp beside cp of coreutils: contents, attributes, trees, refusals, and what is left after errors.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine } from "pinless";
import { disk, needsRoot } from "../../../pinless/dist-test/support/disks.js";
import { cachedBytes, forget } from "../../../pinless/dist-test/support/page-cache.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { CopyPlan } from "../../dist/copy/copy-plan.js";
import { type CopyHost, copyFile } from "../../dist/copy/file-copy.js";
import { FileData } from "../../dist/copy/file-data.js";
import { copies, coreutils, cp, listing, MAIN, shell } from "./compared.js";

const KIB = 1 << 10;
const MIB = 1 << 20;

function content(length: number): Buffer {
  const made = Buffer.alloc(length);
  for (let i = 0; i < length; i++) made[i] = (i * 11 + (i >> 8) * 7 + (i >> 16) + 1) & 255;
  return made;
}

test("sizes around block boundaries, empty, sparse: as the source, and nothing else", (t) => {
  const directory = scratchDirectory(t);
  const source = path.join(directory, "source");
  mkdirSync(source);
  const sizes = [1, 512, 4 * KIB, 64 * KIB, MIB, 3 * MIB].flatMap((size) => [size - 1, size, size + 1]);
  const all = content(3 * MIB + 1);
  for (const size of sizes) writeFileSync(path.join(source, `${size}`), all.subarray(0, size));
  for (const [name, at] of [
    ["hole-first", 2 * MIB],
    ["hole-within", 5 * MIB + 7],
  ] as const)
    shell(
      `dd if=${MIB} of=${name} bs=1 count=5000 seek=${at} status=none; cat ${MIB + 1} 1<> ${name} > /dev/null`,
      source,
    );
  writeFileSync(path.join(source, "hole-last"), all.subarray(0, 5000));
  truncateSync(path.join(source, "hole-last"), 40 * MIB + 3);
  writeFileSync(path.join(source, "only-hole"), "");
  truncateSync(path.join(source, "only-hole"), 1 << 30);
  shell("sync -f .", source);
  copies(["-r", "--verify", "source", "ours"], directory);
  coreutils(["cp", "-r", "--sparse=auto", "source", "theirs"], directory);
  shell("sync -f .", directory);
  shell("cd source; for file in [0-9]* hole*; do cmp $file ../ours/$file; done", directory);
  const shapes = (name: string): string =>
    shell("stat -c '%n %s' *; stat -c '%n %b' *hole*", path.join(directory, name));
  assert.equal(shapes("ours"), shapes("theirs"));
});

test("the page cache stays as it was; cp of coreutils fills it", (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  writeFileSync(at("file"), content(8 * MIB + 100));
  forget(at("file"));
  if (cachedBytes(at("file")) > 0) return t.skip("machine: this filesystem keeps files in memory");
  copies(["--verify", "file", "ours"], directory);
  assert.deepEqual([cachedBytes(at("file")), cachedBytes(at("ours"))], [0, 0]);
  coreutils(["cp", "--reflink=never", "file", "theirs"], directory);
  assert.ok(cachedBytes(at("file")) > 8 * MIB && cachedBytes(at("theirs")) > 8 * MIB);
});

/** Version 2 of an access list: the owner, user 1000, the group, a mask, and others. */
const ACL = [
  "0x02000000",
  "01000600ffffffff",
  "02000600e8030000",
  "04000400ffffffff",
  "10000600ffffffff",
  "20000000ffffffff",
].join("");

/** A tree with links, names of bytes, special files, and attributes as far as the filesystem has them. */
function makeTree(directory: string): void {
  shell(
    `mkdir -p tree/below/empty; echo one > tree/file; ln tree/file tree/below/link; ln -s ../file tree/below/symbolic
     ln -s nowhere tree/dangling; mkfifo tree/fifo; echo two > $'tree/new\\nline'; echo three > $'tree/not\\xffutf\\xc3'
     chmod 640 tree/file; chmod 4751 $'tree/new\\nline'; chmod 2750 tree/below
     touch -d '2001-02-03 04:05:06.123456789' tree/file
     touch -h -d '2002-02-03 04:05:06.987654321' tree/below/symbolic
     touch -d '2003-01-01 00:00:00.000000001' tree/below/empty tree/below tree
     setfattr -n user.note -v text tree/file || true
     setfattr -n system.posix_acl_access -v ${ACL} tree/file || true`,
    directory,
  );
}

test("a tree with -r and -p: types, links, modes, owners, times, attributes as of cp -a", (t) => {
  const directory = scratchDirectory(t);
  makeTree(directory);
  copies(["-r", "-p", "tree", "ours"], directory);
  coreutils(["cp", "-a", "tree", "theirs"], directory);
  assert.equal(listing(path.join(directory, "ours"), "%t"), listing(path.join(directory, "theirs"), "%t"));
  const attributes = (name: string): string => shell("getfattr -R -h -d -m - . | sort", path.join(directory, name));
  assert.equal(attributes("ours"), attributes("theirs"));
  const linked = (name: string): boolean => statSync(path.join(directory, name, "file")).nlink === 2;
  assert.ok(linked("ours"));
});

test("without -p: modes by umask, and those of a file that is replaced", (t) => {
  const directory = scratchDirectory(t);
  makeTree(directory);
  for (const program of ["ours", "theirs"]) {
    shell(
      `mkdir ${program}; echo old > ${program}/there; chmod 604 ${program}/there; ln -s there ${program}/link`,
      directory,
    );
    const run = program === "ours" ? cp : (args: readonly string[], cwd: string) => coreutils(["cp", ...args], cwd);
    assert.equal(run(["tree/file", "tree/new\nline", program], directory).code, 0);
    assert.equal(run(["tree/file", `${program}/link`], directory).code, 0);
  }
  const modes = (name: string): string => shell("stat -c '%n %F %a %s' *; cat there", path.join(directory, name));
  assert.equal(modes("ours"), modes("theirs"));
});

test("what can't be copied is said, exits with 1, and leaves everything as it was", (t) => {
  const directory = scratchDirectory(t);
  makeTree(directory);
  shell("mkdir other; echo other > other/file; ln -s nowhere other/dangling", directory);
  const before = listing(directory);
  for (const [args, message] of [
    [["tree/file", "tree/below/link"], /are the same file/],
    [["tree/file", "tree/file"], /are the same file/],
    [["-r", "tree", "tree/below/new"], /into itself/],
    [["-r", "tree", "tree"], /into itself/],
    [["tree", "new"], /is a directory: give -r/],
    [["missing", "new"], /^pinless cp: missing: no such file or directory \(ENOENT\)\n$/],
    [["tree/file", "missing/new"], /ENOENT/],
    [["tree/file", "other/dangling"], /symbolic link to a file that isn't there/],
    [["--reflink=always", "tree/file", "new"], null],
  ] as const) {
    const { code, stderr } = cp(args, directory);
    // A filesystem may have reflinks.
    if (message === null && code === 0) shell("rm new", directory);
    else assert.equal(code, 1, args.join(" "));
    if (message !== null) assert.match(stderr, message);
    assert.equal(listing(directory), before, args.join(" "));
  }
  for (const args of [["tree/file"], ["tree/file", "other/file", "missing"], ["tree/file", "missing/"]])
    assert.equal(cp(args, directory).code, 2, args.join(" "));
  // Of two that would become the same file the first one stays.
  const twice = cp(["tree/file", "other/file", "tree/below/empty"], directory);
  assert.match(twice.stderr, /was just written/);
  assert.equal(readFileSync(path.join(directory, "tree/below/empty/file"), "utf8"), "one\n");
});

test("a full disk: the message, nothing left, and the old file as it was", { skip: needsRoot }, (t) => {
  const { mount } = disk(t, "ext4", 64 << 20, "memory");
  const directory = scratchDirectory(t);
  writeFileSync(path.join(directory, "large"), Buffer.alloc(100 * MIB, 1));
  writeFileSync(path.join(mount, "old"), "old");
  const before = listing(mount);
  const { code, stderr } = cp(["large", path.join(mount, "old")], directory);
  assert.equal(code, 1);
  assert.match(stderr, /no space left on device \(ENOSPC\)/);
  assert.equal(listing(mount), before);
});

test("a clone shares its blocks", { skip: needsRoot }, (t) => {
  const { mount } = disk(t, "btrfs", 256 << 20, "memory");
  writeFileSync(path.join(mount, "file"), content(MIB));
  copies(["--reflink=always", "--verify", "file", "clone"], mount);
  assert.match(shell("sync clone; filefrag -v clone; cmp file clone", mount), /shared/);
});

test("what has no direct I/O, or isn't a file, is copied all the same", (t) => {
  const directory = scratchDirectory(t);
  const inMemory = `/dev/shm/pinless-cp-${process.pid}`;
  t.after(() => execFileSync("rm", ["-f", inMemory]));
  writeFileSync(path.join(directory, "file"), content(MIB + 5));
  const { code, stderr } = cp(["file", inMemory], directory);
  assert.equal(code, 0);
  assert.match(stderr, /^pinless cp: through the page cache, .*: \/dev\/shm\/pinless-cp-\d+\n$/);
  copies(["/proc/version", "version"], directory);
  copies(["file", "/dev/null"], directory);
  // What runs in the background mustn't hold the pipe that is read here.
  shell("mkfifo fifo; { exec > /dev/null 2>&1; cat version > fifo; } & disown", directory);
  copies(["fifo", "read"], directory);
  shell(`cmp file ${inMemory}; cmp version /proc/version; cmp read version; test -c /dev/null`, directory);
});

test("Ctrl-C ends a copy with 130, and leaves nothing", async (t) => {
  const directory = scratchDirectory(t);
  shell("mkfifo fifo; mkdir target", directory);
  const writer = spawn("bash", ["-c", "exec 3> fifo; echo begun >&3; read -r _"], {
    cwd: directory,
    stdio: ["pipe", "inherit", "inherit"],
  });
  undoing(t, () => void writer.kill());
  const child = spawn(process.execPath, [MAIN, "cp", "fifo", "target/file"], { cwd: directory, stdio: "ignore" });
  const ended = once(child, "close");
  const sizes = (): number[] =>
    readdirSync(path.join(directory, "target")).map((name) => statSync(path.join(directory, "target", name)).size);
  await until("the temporary file", () => sizes()[0] === 6);
  child.kill("SIGINT");
  assert.deepEqual(await ended, [130, null]);
  assert.deepEqual(sizes(), []);
});

/** A copy of a file in this process, whose data can be copied wrongly. */
async function inProcess(
  t: TestContext,
  copyData: (data: FileData, source: string) => FileData["copy"],
  verify = false,
) {
  const directory = scratchDirectory(t);
  const [source, target] = [path.join(directory, "source"), path.join(directory, "target")];
  writeFileSync(source, content(MIB + 1));
  const engine = await Engine.open();
  undoing(t, () => engine.close());
  const { signal } = new AbortController();
  const data = await FileData.open(engine, signal, () => {});
  const real = data.copy.bind(data);
  data.copy = (...args) => copyData(Object.assign(Object.create(data), { copy: real }), source)(...args);
  const messages: string[] = [];
  const complain = (message: string): void => void messages.push(message);
  const options = { preserve: false, reflink: "never", verify } as const;
  const host: CopyHost = { engine, data, signal, options, complain, copied: () => {}, cached: () => {} };
  const plan = new CopyPlan(false, complain);
  plan.add([source], target);
  const error = await copyFile(host, plan.entries[0]!).then(
    () => null,
    (failure: Error) => failure.message,
  );
  return { error, messages, names: readdirSync(directory) };
}

test("a source that changes while it is copied is said", async (t) => {
  const { error, messages, names } = await inProcess(t, (data, source) => async (...args) => {
    await data.copy(...args);
    appendFileSync(source, "more");
  });
  assert.deepEqual([error, names], [null, ["source", "target"]]);
  assert.match(messages[0]!, /source: changed while it was copied$/);
});

test("an error in the middle leaves no file", async (t) => {
  const copied = await inProcess(t, (data) => async (from, to, parts) => {
    await data.copy(from, to, parts.slice(0, 1));
    throw new Error("broken");
  });
  assert.deepEqual(copied, { error: "broken", messages: [], names: ["source"] });
});

test("--verify finds a byte that is wrong", async (t) => {
  const spoilt =
    (data: FileData): FileData["copy"] =>
    async (from, to, parts) => {
      await data.copy(from, to, parts);
      await to.write(Buffer.of(0), 0, 1, MIB);
    };
  const { error, names } = await inProcess(t, spoilt, true);
  assert.match(error ?? "", /read back from the copy/);
  assert.deepEqual(names, ["source"]);
  assert.equal((await inProcess(t, spoilt)).error, null);
});
