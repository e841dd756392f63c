// Beds for benchmarks: a file of zeros on ext4, on a device that completes requests inside the submitting call (zram),
// or later, from a worker of the kernel (a loop device with direct I/O over a file in tmpfs). Root only; any other file
// is a bed too. A bed goes away when it's closed, and when the process ends: by failure or by a signal too.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const FILE_BYTES = 512 << 20;
const DISK_BYTES = FILE_BYTES + (128 << 20);

/** Undoes what is still there, the latest first. */
const undos = new Set();
process.on("exit", () => {
  for (const undo of [...undos].reverse())
    try {
      undo();
    } catch (error) {
      console.error(error);
    }
});
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 }))
  process.on(signal, () => process.exit(128 + number));

/** Has `undo`, which must be synchronous, called at the end of the process; returns a function that calls it now. */
export function untilExit(undo) {
  const once = () => {
    if (undos.delete(once)) undo();
  };
  undos.add(once);
  return once;
}

/** A new folder for a benchmark's own files. */
export const scratchFolder = () => mkdtempSync(join(tmpdir(), "pinless-bench-"));

/**
 * A bed: `{ name, says, path, close }`, with the path of its file. `kind` is "zram", "loop", or "file", whose path is
 * `file`; without a kind it's `file` if given, and else zram.
 */
export function openBed({ kind, file }) {
  kind ??= file === undefined ? "zram" : "file";
  if (kind === "file") return { name: "file", says: `${file}, ${filesystemOf(file)}`, path: file, close: () => {} };
  if (process.getuid() !== 0)
    throw new Error(`a bed on ${kind} takes root: give --file a file on a filesystem with direct I/O instead`);
  return MAKERS[kind](scratchFolder());
}

const filesystemOf = (file) => run("findmnt", ["-n", "-o", "FSTYPE,SOURCE", "-T", file]).replace(/\s+/g, " on ");

const MAKERS = { zram: zramBed, loop: loopBed };

function zramBed(folder) {
  const number = readFileSync("/sys/class/zram-control/hot_add", "utf8").trim();
  const device = `/dev/zram${number}`;
  const disk = join(folder, "disk");
  const removed = `{ ! test -e ${device} || echo ${number} > /sys/class/zram-control/hot_remove; }`;
  const close = takenDownBy(folder, [unmounted(disk), removed]);
  writeFileSync(`/sys/block/zram${number}/disksize`, String(DISK_BYTES));
  const path = fileOnExt4(device, disk);
  return { name: "zram", says: "ext4 on zram: requests complete inside the submitting call", path, close };
}

function loopBed(folder) {
  const [disk, memory] = [join(folder, "disk"), join(folder, "tmpfs")];
  const backing = join(memory, "backing");
  const detached = `{ test -z "$(losetup -j ${backing})" || losetup -d $(losetup -j ${backing} -n -O NAME); }`;
  const close = takenDownBy(folder, [unmounted(disk), detached, unmounted(memory)]);
  mkdirSync(memory);
  run("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES + (64 << 20)}`, "tmpfs", memory]);
  writeFileSync(backing, "");
  truncateSync(backing, DISK_BYTES);
  const device = run("losetup", ["--direct-io=on", "--show", "-f", backing]);
  const path = fileOnExt4(device, disk);
  return {
    name: "loop",
    says: "ext4 on a loop device over tmpfs: a worker of the kernel completes requests",
    path,
    close,
  };
}

function fileOnExt4(device, disk) {
  run("mkfs.ext4", ["-q", device]);
  mkdirSync(disk);
  run("mount", [device, disk]);
  const path = join(disk, "file");
  run("dd", ["if=/dev/zero", `of=${path}`, "bs=1M", `count=${FILE_BYTES >> 20}`, "conv=fsync", "status=none"]);
  return path;
}

const run = (command, args) => execFileSync(command, args).toString().trim();

const unmounted = (folder) => `{ ! mountpoint -q ${folder} || umount ${folder}; }`;

/**
 * The function that takes a bed down by steps in sh, and then its folder. They run again while one of them fails: the
 * kernel ends a dead process's rings, and with them the files they hold, a moment after the process. A process that
 * ends by failure may hold such files itself: then a shell that outlives it goes on trying.
 */
function takenDownBy(folder, steps) {
  const all = [...steps, `rm -rf --one-file-system ${folder}`].join(" && ");
  const trying = (times) => ["-c", `for i in $(seq ${times}); do { ${all}; } && exit; sleep 0.1; done; exit 1`];
  return untilExit(() => {
    try {
      execFileSync("sh", trying(20), { stdio: "ignore" });
    } catch {
      spawn("sh", trying(600), { detached: true, stdio: "ignore" }).unref();
    }
  });
}
