/**
 * Test files that run in a virtual machine, for what this machine lacks: another kernel, two NUMA nodes. QEMU computes
 * all of it (tcg), so nothing but QEMU and the kernel is needed. PINLESS_GUEST names a directory into which packages of
 * Debian's cloud kernel were unpacked (.ci/run).
 */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { Initramfs } from "./initramfs.js";
import { scratchDirectory, undoing } from "./undo.js";

const ROOT = path.resolve(import.meta.dirname, "../../../..");
const DISK_BYTES = 64 << 20;
const LIMIT_MS = 240_000;

/** Modules that a kernel needs for its disk, in this order; some of them may be built in. */
const DRIVERS = ["virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk"];

interface Kernel {
  readonly image: string;
  readonly drivers: readonly string[];
}

function findKernel(directory: string): Kernel | null {
  const files = readdirSync(directory, { recursive: true, encoding: "utf8" }).map((file) => path.join(directory, file));
  const image = files.find((file) => /^vmlinuz/.test(path.basename(file)));
  const drivers = DRIVERS.flatMap((name) => files.find((file) => path.basename(file).startsWith(`${name}.ko`)) ?? []);
  return image === undefined ? null : { image, drivers };
}

/** For a test's `skip`. */
export function cantHaveGuests(): string | false {
  const directory = process.env.PINLESS_GUEST;
  if (directory === undefined || directory === "") return "machine: no kernel for a guest (PINLESS_GUEST)";
  if (process.arch !== "x64") return "machine: guests are x86-64";
  if (spawnSync("qemu-system-x86_64", ["--version"]).error !== undefined) return "machine: no qemu-system-x86_64";
  return findKernel(directory) === null ? `machine: no kernel in ${directory}` : false;
}

/** Node, what it's linked with, the package and its tests. */
function initramfs(kernel: Kernel): Buffer {
  const files = new Initramfs();
  for (const name of ["proc", "sys", "dev", "tmp"]) files.directory(name);
  files.file("node", process.execPath);
  const addon = `@koromix/koffi-linux-${process.arch}`;
  const linked = [process.execPath, path.join(ROOT, `node_modules/${addon}/linux_${process.arch}/koffi.node`)];
  const libraries = linked.flatMap((file) => [
    ...execFileSync("ldd", [realpathSync(file)], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g),
  ]);
  for (const library of new Set(libraries.map(([, library]) => library!))) files.file(library.slice(1), library);
  const packages = ["pinless/dist", "pinless/dist-test", "cli/dist"].map((name) => `packages/${name}`);
  for (const name of [...packages, "node_modules/koffi", `node_modules/${addon}`])
    files.tree(`pinless/${name}`, path.join(ROOT, name));
  for (const name of ["packages/pinless/package.json", "packages/cli/package.json"])
    files.file(`pinless/${name}`, path.join(ROOT, name));
  files.link("pinless/node_modules/pinless", "../packages/pinless");
  files.directory("drivers");
  for (const [i, driver] of kernel.drivers.entries()) files.file(`drivers/${i}-${path.basename(driver)}`, driver);
  return files.archive();
}

/** An ext4 without anything on it. */
function disk(directory: string): string {
  const file = path.join(directory, "disk");
  const fd = openSync(file, "wx", 0o600);
  ftruncateSync(fd, DISK_BYTES);
  closeSync(fd);
  execFileSync("mkfs.ext4", ["-q", "-F", file]);
  return file;
}

/** Output of a guest once its kernel and Node in it have started. */
const STARTED = /^TAP version/m;
/** Attempts to boot. A kernel that patched its own code under two emulated processors once had an oops at an int3. */
const BOOTS = 3;

/**
 * Runs compiled test files (dist-test/…) one after the other in a guest with this number of nodes, each with a
 * processor. Returns the TAP text of its serial line. `boot`: more parameters of the kernel.
 */
export async function runInGuest(
  t: TestContext,
  files: readonly string[],
  { boot = "", nodes = 2, nodeMib = 1024 }: { boot?: string; nodes?: number; nodeMib?: number } = {},
): Promise<string> {
  const kernel = findKernel(process.env.PINLESS_GUEST!)!;
  const directory = scratchDirectory(t);
  const ram = path.join(directory, "initramfs");
  writeFileSync(ram, initramfs(kernel));
  const node = (id: number): string[] => [
    ...["-object", `memory-backend-ram,id=memory${id},size=${nodeMib}M`],
    ...["-numa", `node,nodeid=${id},memdev=memory${id},cpus=${id}`],
  ];
  // Should the first process die, that's a panic: QEMU ends instead of starting anew.
  const parameters = `console=ttyS0 quiet mitigations=off panic=-1 oops=panic ${boot} rdinit=/node`;
  const init = `--test-reporter=tap /pinless/packages/pinless/dist-test/guest/init.js ${files.join(" ")}`;
  const args = [
    ...["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", `${nodes}`, "-m", `${nodes * nodeMib}M`],
    ...Array.from({ length: nodes }, (_, id) => node(id)).flat(),
    ...["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"],
    ...["-drive", `file=${disk(directory)},format=raw,if=virtio,cache=unsafe`],
    ...["-kernel", kernel.image, "-initrd", ram, "-append", `${parameters} -- ${init}`],
  ];
  for (let boots = 1; ; boots++) {
    const said = await runQemu(t, args);
    if (STARTED.test(said) || boots === BOOTS) return said;
    t.diagnostic(`the guest's kernel didn't come up, and is started again: ${said.trim().split("\n")[0] ?? ""}`);
  }
}

async function runQemu(t: TestContext, args: readonly string[]): Promise<string> {
  const qemu = spawn("qemu-system-x86_64", args, { stdio: ["ignore", "pipe", "pipe"] });
  const gone = once(qemu, "exit");
  undoing(t, async () => {
    qemu.kill("SIGKILL");
    await gone;
  });
  const timer = setTimeout(() => qemu.kill("SIGKILL"), LIMIT_MS);
  let said = "";
  for (const stream of [qemu.stdout, qemu.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
  await once(qemu, "close");
  clearTimeout(timer);
  return said.replaceAll("\r", "");
}
