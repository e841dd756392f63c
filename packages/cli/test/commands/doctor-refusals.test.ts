// Findings of the doctor where the kernel, its settings, a limit or Node refuse something: they are true, and say what
// to change.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { aioSyscalls, SYSCALLS, userfaultfdSyscall } from "../../../pinless/dist/abi/numbers.js";
import { AIO_CALLS, RING_CALLS } from "../../../pinless/dist/linux/probe.js";
import { asOrdinaryUser } from "../../../pinless/dist-test/support/children.js";
import { needsRoot, swap } from "../../../pinless/dist-test/support/disks.js";
import { pinnedBytes } from "../../../pinless/dist-test/support/proc.js";
import { refusing } from "../../../pinless/dist-test/support/seccomp.js";
import { scratchDirectory, undoing, undoingByShell, withSetting } from "../../../pinless/dist-test/support/undo.js";
import { filterRemedy, memlockRemedy, placeOf } from "../../dist/doctor/place.js";
import { diagnose, doctor } from "./doctor.js";
import { pinningChild } from "./pinning.js";

const MIB = 1 << 20;
const EPERM = 1;
const ENOSYS = 38;
const { __NR_io_uring_setup: RING } = SYSCALLS;
const { __NR_io_setup: AIO } = aioSyscalls(process.arch);
const USERFAULTFD = userfaultfdSyscall(process.arch);

test("io_uring switched off by sysctl: the setting is named, and auto takes aio", { skip: needsRoot }, async (t) => {
  await withSetting(t, "/proc/sys/kernel/io_uring_disabled", "2");
  const { findings, canRun } = await diagnose([]);
  const { ioUring, revocation, engine } = findings;
  assert.deepEqual([ioUring.verdict, ioUring.errno, ioUring.disabled], ["missing", "EPERM", 2]);
  assert.match(ioUring.remedies.join(), /kernel\.io_uring_disabled is 2; 0 allows it/);
  assert.deepEqual([revocation.verdict, revocation.works], ["missing", null]);
  assert.deepEqual([engine.verdict, engine.scheme, engine.pin, canRun], ["degraded", "aio", "per-io", true]);
  // A remedy is said once, though both the ring's finding and the engine's have it.
  assert.equal((await doctor([])).stdout.replaceAll(/\s+/g, " ").split("0 allows it").length, 2);
});

test("io_uring for a group only: the doctor says so to an ordinary user, and root can use it", {
  skip: needsRoot,
}, async (t) => {
  await withSetting(t, "/proc/sys/kernel/io_uring_disabled", "1");
  const { ioUring } = (await diagnose(["/"], { wrapper: asOrdinaryUser(8 * MIB) })).findings;
  assert.deepEqual([ioUring.errno, ioUring.disabled], ["EPERM", 1]);
  assert.match(ioUring.remedies.join(), /io_uring_disabled is 1; 0 allows it.*io_uring_group/);
  const { ioUring: ofRoot } = (await diagnose([])).findings;
  assert.deepEqual([ofRoot.verdict, ofRoot.errno], ["ok", null]);
});

test("AIO used up: the finding has the number of events left, and the depth isn't larger", {
  skip: needsRoot,
}, async (t) => {
  await withSetting(t, "/proc/sys/fs/aio-max-nr", "0");
  const { aio, engine } = (await diagnose([])).findings;
  assert.deepEqual([aio.verdict, aio.errno, aio.maxEvents, aio.freeEvents], ["missing", "EAGAIN", 0, 0]);
  assert.match(aio.remedies.join(), /fs\.aio-max-nr is 0/);
  assert.equal(engine.scheme, "io_uring");
});

test("a filter that hides io_uring and AIO: both say so, the container's finding too, and direct runs", async () => {
  const { findings, canRun } = await diagnose([], { before: refusing(ENOSYS, RING, AIO) });
  const { ioUring, aio, container, engine } = findings;
  assert.deepEqual([ioUring.errno, aio.errno], ["ENOSYS", "ENOSYS"]);
  assert.match(ioUring.remedies.join(), /seccomp.*io_uring_setup/);
  assert.match(aio.remedies.join(), /seccomp.*io_setup/);
  assert.deepEqual([container.verdict, container.seccomp, container.noNewPrivileges], ["degraded", "filter", true]);
  assert.ok(container.remedies.join().endsWith(filterRemedy(placeOf(), `${RING_CALLS}, ${AIO_CALLS}`)));
  assert.deepEqual([engine.scheme, engine.pin, canRun], ["direct", "per-io", true]);
});

test("a filter that hides something else is no reason for a remedy", async () => {
  const { container } = (await diagnose([], { before: refusing(ENOSYS, USERFAULTFD) })).findings;
  assert.deepEqual([container.verdict, container.seccomp], ["ok", "filter"]);
});

test("userfaultfd, and a filter that refuses it", async (t) => {
  const find = async (before: string) => (await diagnose(["/"], { before })).findings.userfaultfd;
  const called = await find("");
  if (called.errno !== null) return t.skip("machine: no userfaultfd");
  assert.deepEqual([called.verdict, called.errno, called.registers], ["ok", null, true]);
  const { writeProtect, removeEvents, unmapEvents, remapEvents } = called;
  assert.deepEqual([writeProtect, removeEvents, unmapEvents, remapEvents], [true, true, true, true]);
  const refused = await find(refusing(EPERM, USERFAULTFD));
  assert.deepEqual([refused.verdict, refused.errno, refused.removeEvents], ["missing", "EPERM", false]);
  assert.deepEqual([refused.registers, refused.remedies], [false, [filterRemedy(placeOf(), "userfaultfd")]]);
});

test("an ordinary user's memlock limit, the share of the user's other processes, and the rest", {
  skip: needsRoot,
}, async (t) => {
  const wrapper = asOrdinaryUser(8 * MIB);
  const { memlock: alone } = (await diagnose(["/"], { wrapper })).findings;
  assert.deepEqual([alone.limited, alone.limitBytes, alone.othersPinnedBytes], [true, 8 * MIB, 0]);
  assert.deepEqual([alone.budgetBytes, alone.verdict], [4 * MIB, "degraded"]);
  assert.ok(alone.remedies.join().endsWith(memlockRemedy(placeOf(), 1024 * MIB)));
  const pid = await pinningChild(t, "lifetime", wrapper);
  const pinned = pinnedBytes(pid);
  assert.ok(pinned >= 4 * MIB);
  const { memlock } = (await diagnose(["/"], { wrapper })).findings;
  assert.equal(memlock.othersPinnedBytes, pinned);
  if (memlock.leftBy === "trial") {
    // Its ring counts too, which no file says.
    assert.ok(memlock.leftBytes! > 0 && memlock.leftBytes! <= alone.leftBytes! - pinned, `${memlock.leftBytes} left`);
  } else assert.equal(memlock.leftBytes, 8 * MIB - pinned);
  // Root's are another's.
  assert.equal((await diagnose([])).findings.memlock.limited, false);
});

test("memlock 0: no room for a ring or a lease, and the doctor runs", { skip: needsRoot }, async () => {
  const { findings, canRun } = await diagnose(["/"], { wrapper: asOrdinaryUser(0) });
  const { memlock, revocation, engine, directIo } = findings;
  assert.deepEqual([memlock.limitBytes, memlock.leftBytes, memlock.verdict], [0, 0, "degraded"]);
  assert.match(memlock.found, /no lease of 2 MiB fits/);
  assert.notEqual(revocation.works, true);
  assert.deepEqual([engine.pin, canRun], ["per-io", true]);
  assert.match(directIo.found, /not tried.*EACCES/);
});

test("root in a user namespace of its own has the user's limit", { skip: needsRoot }, async (t) => {
  const wrapper = [...asOrdinaryUser(8 * MIB), "unshare", "--user", "--map-root-user"];
  if (spawnSync(wrapper[0]!, [...wrapper.slice(1), "true"]).status !== 0)
    return t.skip("machine: no user namespaces for ordinary users");
  const { uid, findings } = await diagnose(["/"], { wrapper });
  assert.equal(uid, 0);
  assert.deepEqual([findings.memlock.limited, findings.memlock.budgetBytes], [true, 4 * MIB]);
});

test("processes that can't be read are counted, and hidden ones are mentioned", { skip: needsRoot }, async (t) => {
  const pid = await pinningChild(t, "lifetime");
  const hiding = (how: string): string[] => [
    ...["unshare", "--mount", "sh", "-c", `mount -t proc -o hidepid=${how} proc /proc && exec "$@"`, "sh"],
    ...asOrdinaryUser(8 * MIB),
  ];
  const { pins: counted } = (await diagnose(["/"], { wrapper: hiding("1") })).findings;
  assert.ok(counted.unreadableProcesses > 0 && counted.hidepid !== null);
  assert.deepEqual([counted.verdict, counted.processes], ["degraded", []]);
  const { pins: hidden } = (await diagnose(["/"], { wrapper: hiding("2") })).findings;
  assert.ok(hidden.unreadableProcesses === 0 && hidden.hidepid !== null && hidden.hidepid !== counted.hidepid);
  assert.match(hidden.found, /hidepid/);
  // A user who sees all of /proc finds it, an ordinary user too.
  const { pins } = (await diagnose(["/"], { wrapper: asOrdinaryUser(8 * MIB) })).findings;
  assert.deepEqual([pins.hidepid, pins.unreadableProcesses], [null, 0]);
  assert.ok(pins.processes.some((each) => each.pid === pid && each.uid === 0));
});

test("the limit of a memory cgroup above the process's own is found", { skip: needsRoot }, async (t) => {
  const [, line = ""] =
    /^\d+:(?:[\w,]*,)?memory(?:,[\w,]*)?:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8")) ?? [];
  const mounted = spawnSync("findmnt", ["-no", "TARGET", "-t", "cgroup", "-O", "memory"], { encoding: "utf8" });
  const at = mounted.stdout.trim();
  if (at === "") return t.skip("machine: no memory cgroup of version 1 to make");
  const outer = path.join(at, line, `pinless-test-${process.pid}`);
  const inner = path.join(outer, "inner");
  for (const directory of [outer, inner]) {
    mkdirSync(directory);
    undoing(t, () => rmdirSync(directory));
  }
  writeFileSync(path.join(outer, "memory.limit_in_bytes"), String(768 * MIB));
  const wrapper = ["sh", "-c", `echo $$ > ${inner}/cgroup.procs && exec "$@"`, "sh"];
  const { container } = (await diagnose(["/"], { wrapper })).findings;
  assert.equal(container.memoryLimitBytes, 768 * MIB);
  assert.ok(container.memoryUsedBytes! > MIB && container.memoryUsedBytes! < 768 * MIB);
  const both = path.join(outer, "memory.memsw.limit_in_bytes");
  if (!existsSync(both)) return;
  // A limit for memory and swap together that memory alone fills: no swap.
  writeFileSync(both, String(768 * MIB));
  swap(t, 32 * MIB);
  const { findings } = await diagnose(["/"], { wrapper });
  assert.deepEqual([findings.swap.cgroupLimitBytes, findings.swap.verdict], [0, "degraded"]);
});

test("huge pages switched off: the finding names the setting; swap is seen to come and go", {
  skip: needsRoot,
}, async (t) => {
  const setting = "/sys/kernel/mm/transparent_hugepage/enabled";
  const before = /\[(\w+)\]/.exec(readFileSync(setting, "utf8"))?.[1];
  undoingByShell(t, `echo ${before} > ${setting}`);
  writeFileSync(setting, "never");
  swap(t, 32 * MIB);
  const { findings } = await diagnose([]);
  assert.deepEqual([findings.hugePages.verdict, findings.hugePages.enabled], ["degraded", "never"]);
  assert.match(findings.hugePages.remedies.join(), /echo madvise > .*transparent_hugepage\/enabled/);
  const areas = readFileSync("/proc/swaps", "utf8").trim().split("\n").slice(1);
  const expected = areas.map((line) => {
    const [file, kind, kib, used] = line.split(/\s+/);
    return { path: file, kind, totalBytes: Number(kib) * 1024, usedBytes: Number(used) * 1024 };
  });
  assert.ok(expected.some(({ kind, totalBytes }) => kind === "file" && totalBytes > 31 * MIB));
  assert.deepEqual([findings.swap.verdict, findings.swap.areas], ["ok", expected]);
});

test("no add-on, no WebAssembly, no scratch space: 1, and why", async (t) => {
  const flag = process.allowedNodeEnvironmentFlags.has("--permission") ? "--permission" : "--experimental-permission";
  const permissions = [flag, "--allow-fs-read=*", "--allow-fs-write=*", "--no-warnings"];
  const { findings: forbidden } = await diagnose([], { node: permissions }, 1);
  assert.deepEqual(
    [forbidden.node.verdict, forbidden.node.permissionModel, forbidden.node.addOn],
    ["missing", true, false],
  );
  assert.match(forbidden.node.remedies.join(), /--allow-addons/);
  assert.deepEqual([forbidden.engine.verdict, forbidden.bench.verdict], ["missing", "missing"]);
  const engineOnly = { node: [...permissions, "--allow-addons", "--allow-worker"] };
  const { findings: alone } = await diagnose([], engineOnly, 1);
  assert.notEqual(alone.engine.verdict, "missing");
  assert.match(alone.bench.remedies.join(), /--allow-child-process/);

  const { findings: jitless } = await diagnose([], { node: ["--jitless", "--no-warnings"] }, 1);
  assert.deepEqual([jitless.node.webAssembly, jitless.aio.verdict, jitless.engine.verdict], [false, "ok", "missing"]);
  assert.match(jitless.node.remedies.join(), /--jitless/);

  const nowhere = path.join(scratchDirectory(t), "nowhere");
  const { findings, canRun } = await diagnose([], { env: { PINLESS_SCRATCH: nowhere } }, 1);
  assert.deepEqual([findings.bench.verdict, findings.bench.scratchDirectory, canRun], ["missing", nowhere, false]);
  assert.match(findings.bench.remedies.join(), /PINLESS_SCRATCH/);
  assert.equal(findings.engine.verdict === "missing", false);
  execFileSync("test", ["!", "-e", nowhere]);
});
