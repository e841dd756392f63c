// Findings of the doctor on this machine as it is, compared with other sources; and their display.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { ext4, mqueue, needsRoot, ramfs, readOnly, tmpfs } from "../../../pinless/dist-test/support/disks.js";
import { pinnedBytes } from "../../../pinless/dist-test/support/proc.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { renderExamination } from "../../dist/commands/doctor-text.js";
import { diagnose, doctor, namesIn } from "./doctor.js";
import { pinningChild } from "./pinning.js";

/** Findings on this machine, for tests that only compare them. */
let found: ReturnType<typeof diagnose> | undefined;
const here = (): ReturnType<typeof diagnose> => (found ??= diagnose([]));

const read = (file: string): string => readFileSync(file, "utf8");
const GREEN_MARK = "\x1b[32m✓\x1b[39m";
const MAIN = path.resolve(import.meta.dirname, "../../dist/main.js");

test("the JSON agrees with the kernel's files, Node and the system's own tools", async (t) => {
  const directory = scratchDirectory(t);
  const { findings, ...rest } = await diagnose([directory]);
  const { version } = JSON.parse(read(path.resolve(import.meta.dirname, "../../package.json")));
  const { pinless, path: examined, kernel, uid, canRun, elapsedMs } = rest;
  assert.deepEqual([pinless, examined, kernel, uid], [version, directory, os.release(), process.geteuid?.()]);
  assert.ok(canRun && elapsedMs > 0);
  for (const { verdict, found, remedies } of Object.values(findings)) {
    assert.ok(["ok", "degraded", "missing"].includes(verdict) && found.length > 0);
    if (verdict === "ok") assert.deepEqual(remedies, []);
  }
  const { node, aio, memlock, hugePages, swap, numa, container, directIo } = findings;
  assert.deepEqual([node.version, node.addOn, node.webAssembly], [process.version, true, true]);
  assert.equal(aio.maxEvents, Number(read("/proc/sys/fs/aio-max-nr")));
  assert.equal(aio.freeEvents, aio.maxEvents! - aio.usedEvents!);
  const [soft] = execFileSync("prlimit", ["--memlock", "--raw", "--noheadings", "--output=SOFT"], { encoding: "utf8" })
    .trim()
    .split(/\s+/);
  assert.equal(String(memlock.limitBytes ?? "unlimited"), soft);
  const thp = "/sys/kernel/mm/transparent_hugepage";
  assert.ok(read(`${thp}/enabled`).includes(`[${hugePages.enabled}]`));
  assert.ok(read(`${thp}/defrag`).includes(`[${hugePages.defrag}]`));
  assert.equal(swap.areas.length, read("/proc/swaps").trim().split("\n").length - 1);
  const nodes = readdirSync("/sys/devices/system/node").filter((name) => /^node\d+$/.test(name));
  assert.equal(numa.nodes, nodes.length);
  const seccomp = Number(/^Seccomp:\s*(\d)/m.exec(read("/proc/self/status"))![1]);
  assert.equal(container.seccomp, ["off", "strict", "filter"][seccomp]);
  const [type, mountPoint] = execFileSync("findmnt", ["-no", "FSTYPE,TARGET", "-T", directory], { encoding: "utf8" })
    .trim()
    .split(/\s+/);
  assert.deepEqual([directIo.filesystem, directIo.mountPoint, directIo.kind], [type, mountPoint, "directory"]);
});

test("the conclusion is the scheme and pin mode that Engine.open really chooses", async () => {
  const { Engine } = await import("../../../pinless/dist/index.js");
  const engine = await Engine.open();
  const { scheme, pin, depth } = engine;
  const { degraded } = engine.stats();
  await engine.close();
  const { engine: found } = (await here()).findings;
  assert.deepEqual([found.scheme, found.pin, found.depth], [scheme, pin, depth]);
  assert.deepEqual(found.reasons, degraded);
});

test("a process that pins memory is listed with its pinned bytes, and isn't listed without pins", async (t) => {
  const leased = await pinningChild(t, "lease");
  const pinning = await pinningChild(t, "lifetime");
  assert.ok(pinnedBytes(pinning) >= 4 << 20 && pinnedBytes(leased) === 0);
  const ended = await doctor(["--json"]);
  const { processes } = JSON.parse(ended.stdout).findings.pins;
  const found = processes.find(({ pid }: { pid: number }) => pid === pinning);
  const name = /^Name:\t(.*)$/m.exec(read(`/proc/${pinning}/status`))![1];
  const uid = process.getuid!();
  const user = new RegExp(`^([^:]*):[^:]*:${uid}:`, "m").exec(read("/etc/passwd"))?.[1] ?? null;
  assert.deepEqual(found, { pid: pinning, name, uid, user, pinnedBytes: pinnedBytes(pinning) });
  assert.equal(
    processes.find(({ pid }: { pid: number }) => pid === leased),
    undefined,
  );
  assert.match((await doctor([])).stdout, new RegExp(`by ${name}, pid ${pinning}, ${user ?? `uid ${uid}`}\n`));
});

test("a file is only read, and a directory is left as it was", async (t) => {
  const directory = scratchDirectory(t);
  const file = path.join(directory, "file");
  writeFileSync(file, "a few bytes");
  const before = statSync(file, { bigint: true });
  for (const where of [file, directory]) {
    const { directIo } = (await diagnose([where])).findings;
    assert.equal(directIo.kind, where === file ? "file" : "directory");
    if (directIo.opens === true) assert.equal(directIo.reads, true);
  }
  const { mtimeNs, ctimeNs, size } = statSync(file, { bigint: true });
  assert.deepEqual([mtimeNs, ctimeNs, size], [before.mtimeNs, before.ctimeNs, before.size]);
  assert.deepEqual(readdirSync(directory), ["file"]);
});

test("ext4 on a loop device: direct I/O works, aligned as the device wants it", { skip: needsRoot }, async (t) => {
  const { directIo } = (await diagnose([ext4(t, 32 << 20)])).findings;
  const { verdict, filesystem, opens, reads, offsetAlignBytes, memoryAlignBytes } = directIo;
  assert.deepEqual([verdict, filesystem, opens, reads], ["ok", "ext4", true, true]);
  // A loop device's sectors have 512 bytes, or what the file below has.
  assert.ok(offsetAlignBytes! >= 512 && offsetAlignBytes! <= 4096 && memoryAlignBytes! <= offsetAlignBytes!);
});

test("on a read-only mount a directory isn't tried, and a file is", { skip: needsRoot }, async (t) => {
  const disk = ext4(t, 32 << 20);
  writeFileSync(path.join(disk, "file"), Buffer.alloc(8192, 7));
  const mounted = readOnly(t, disk);
  const { directIo } = (await diagnose([mounted])).findings;
  assert.deepEqual([directIo.verdict, directIo.readOnly, directIo.opens], ["degraded", true, null]);
  assert.match(directIo.found, /read-only.*EROFS/);
  const { directIo: ofFile } = (await diagnose([path.join(mounted, "file")])).findings;
  assert.deepEqual([ofFile.verdict, ofFile.readOnly, ofFile.reads], ["ok", true, true]);
});

test("filesystems that refuse O_DIRECT, have no disk, or can't be written", { skip: needsRoot }, async (t) => {
  const find = async (where: string) => (await diagnose([where])).findings.directIo;
  const none = await find(ramfs(t));
  assert.deepEqual([none.verdict, none.filesystem, none.opens], ["degraded", "ramfs", false]);
  assert.match(none.found, /EINVAL/);
  const memory = await find(tmpfs(t, 1 << 20));
  assert.deepEqual([memory.verdict, memory.filesystem], ["degraded", "tmpfs"]);
  const queues = mqueue(t);
  const before = readdirSync(queues);
  assert.deepEqual([(await find(queues)).verdict, readdirSync(queues)], ["degraded", before]);
});

test("a file of the kernel's, a device and a pipe have no direct I/O", async (t) => {
  const find = async (where: string) => (await diagnose([where])).findings.directIo;
  const file = await find("/proc/self/status");
  assert.deepEqual([file.verdict, file.filesystem, file.opens], ["degraded", "proc", false]);
  const pipe = path.join(scratchDirectory(t), "pipe");
  execFileSync("mkfifo", [pipe]);
  for (const where of ["/dev/null", pipe]) {
    const { verdict, kind } = await find(where);
    assert.deepEqual([verdict, kind], ["missing", "other"]);
  }
});

test("an empty file opens, and the doctor says that nothing was read", async (t) => {
  const file = path.join(scratchDirectory(t), "empty");
  writeFileSync(file, "");
  const { directIo } = (await diagnose([file])).findings;
  if (directIo.opens === true) assert.deepEqual([directIo.reads, /empty/.test(directIo.found)], [null, true]);
});

test("a path that doesn't exist: one line, and exit code 1", async () => {
  for (const args of [["/nowhere/at/all"], ["--json", "/nowhere/at/all"]]) {
    const { code, stdout, stderr } = await doctor(args);
    assert.deepEqual([code, stdout], [1, ""]);
    assert.match(stderr, /^pinless doctor: \/nowhere\/at\/all: there's no such file or directory \(ENOENT\)\n$/);
  }
});

test("wrong usage ends with 2, --help with 0", async () => {
  for (const args of [["--nonsense"], [".", "superfluous"]]) {
    const { code, stdout, stderr } = await doctor(args);
    assert.deepEqual([code, stdout], [2, ""]);
    assert.match(stderr, /pinless doctor --help/);
  }
  const help = await doctor(["--help"]);
  assert.deepEqual([help.code, help.stderr], [0, ""]);
  for (const word of ["[path]", "--json"]) assert.ok(help.stdout.includes(word), word);
});

test("into a pipe: no control characters, no line longer than 80 columns, every finding with its mark", async () => {
  const { stdout, stderr } = await doctor([], { env: { FORCE_COLOR: "" } });
  assert.doesNotMatch(stdout.replaceAll("\n", ""), /\p{Cc}/u);
  assert.equal(stderr, "");
  for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
  const { findings } = await here();
  assert.equal(stdout.match(/^[✓!✗] /gm)?.length, Object.keys(findings).length);
});

test("all of the output fits into 40 columns, whatever the names of paths and processes", async () => {
  const examination = await here();
  const { findings } = examination;
  const name = `${"long".repeat(30)}\x1b[31m\n`;
  const one = { pid: 1, name, uid: 0, user: null, pinnedBytes: 3 << 19 };
  const odd = {
    ...examination,
    path: `/${"x".repeat(200)}`,
    findings: { ...findings, pins: { ...findings.pins, processes: [one] } },
  };
  for (const columns of [24, 40, 63, 64, 120]) {
    const text = renderExamination(odd, { columns, colors: false });
    for (const line of text.split("\n")) assert.ok(line.length <= columns, `${columns}: ${line}`);
    assert.doesNotMatch(text.replaceAll("\n", ""), /\p{Cc}/u);
    const squeezed = text.replaceAll(/\s/g, "");
    assert.ok(squeezed.includes("x".repeat(200)) && squeezed.includes("long".repeat(30)));
    assert.ok(squeezed.includes("1.5MiBby"));
  }
  assert.ok(renderExamination(odd, { columns: 80, colors: true }).includes(GREEN_MARK));
});

/** Output on a terminal of 40 columns; null if there is no `script`. */
function onTerminal(t: TestContext, env: Record<string, string>): string | null {
  const command = `stty cols 40 && ${process.execPath} ${MAIN} doctor`;
  // Node shows no colours where CI is set.
  const { NO_COLOR, FORCE_COLOR, CI, ...inherited } = process.env;
  const { status, stdout, error } = spawnSync("script", ["-qec", command, "/dev/null"], {
    env: { ...inherited, TERM: "xterm-256color", ...env },
    encoding: "utf8",
  });
  if (error !== undefined) {
    t.skip("machine: no script(1)");
    return null;
  }
  assert.equal(status, 0, stdout);
  return stdout;
}

test("a terminal gets colours and its own width, and none of them with NO_COLOR", (t) => {
  const colored = onTerminal(t, {});
  if (colored === null) return;
  assert.ok(colored.includes(GREEN_MARK), colored);
  const plain = onTerminal(t, { NO_COLOR: "1" })!;
  assert.ok(!plain.includes("\x1b"), plain);
  assert.match(plain, /✓ Node/);
  for (const line of plain.split("\r\n")) assert.ok(line.length <= 40, line);
});

test("the JSON has the same keys if nothing works as if everything does", async () => {
  const expected = namesIn(await here());
  const flag = process.allowedNodeEnvironmentFlags.has("--permission") ? "--permission" : "--experimental-permission";
  const forbidden = { node: [flag, "--allow-fs-read=*", "--allow-fs-write=*", "--no-warnings"] };
  assert.deepEqual(namesIn(await diagnose([], forbidden, 1)), expected);
  assert.deepEqual(namesIn(await diagnose([], { node: ["--jitless", "--no-warnings"] }, 1)), expected);
});
