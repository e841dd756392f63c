/** Filesystems and swap of a test's own. Root only. */

import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { scratchDirectory, undoingByShell } from "./undo.js";

/** For a test's `skip`. */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : "needs root";

function run(command: string, ...args: string[]): void {
  execFileSync(command, args, { stdio: ["ignore", "ignore", "pipe"] });
}

function image(directory: string, bytes: number): string {
  const file = path.join(directory, "image");
  const fd = openSync(file, "wx", 0o600);
  ftruncateSync(fd, bytes);
  closeSync(fd);
  return file;
}

/** Mounts on a directory of its own, until the test ends. */
function mounted(t: TestContext, ...args: string[]): string {
  const at = path.join(scratchDirectory(t), "mount");
  mkdirSync(at);
  // Nothing is mounted if the mount itself fails. What still holds it is a failure, and can't keep it on the machine.
  undoingByShell(t, `! mountpoint -q '${at}' || umount '${at}' || { umount -l '${at}'; false; }`);
  run("mount", ...args, at);
  return at;
}

/** An ext4 of its own, on a loop device. `options`: more of mount's. */
export function ext4(t: TestContext, bytes: number, options = "loop"): string {
  return ext4Image(t, bytes, options).mount;
}

/** The same, and the file that it's on. `content`: a directory that is copied in. */
export function ext4Image(t: TestContext, bytes: number, options: string, content?: string): DiskImage {
  const file = image(scratchDirectory(t), bytes);
  run("mkfs.ext4", "-q", "-F", ...(content === undefined ? [] : ["-d", content]), file);
  return { file, mount: mounted(t, "-o", `loop,${options}`, file) };
}

interface DiskImage {
  readonly file: string;
  readonly mount: string;
}

/** A loop device over a file of zeros. `detach` while it's open: it goes when the last one closes it. */
export function loopDevice(
  t: TestContext,
  bytes: number,
  inside = scratchDirectory(t),
): { device: string; file: string; detach(): void } {
  const file = image(inside, bytes);
  const device = execFileSync("losetup", ["--find", "--show", file], { encoding: "utf8" }).trim();
  // The test may have detached it, and another test attached the same device since.
  undoingByShell(t, `! losetup -n -O BACK-FILE '${device}' | grep -q '^${file}' || losetup -d '${device}'`);
  return { device, file, detach: () => run("losetup", "-d", device) };
}

/** A new filesystem on a loop device, over a file in memory (fast) or on the scratch disk. `options`: more for mkfs. */
export function disk(
  t: TestContext,
  filesystem: "btrfs" | "ext4" | "xfs",
  bytes: number,
  location: "memory" | "scratch",
  ...options: string[]
): { device: string; mount: string } {
  const { device } = loopDevice(t, bytes, location === "memory" ? tmpfs(t, bytes) : undefined);
  run(`mkfs.${filesystem}`, "-q", ...options, device);
  return { device, mount: mounted(t, device) };
}

/** A btrfs with options of mount's. */
export function btrfsThat(t: TestContext, options: string): string {
  const { mount } = disk(t, "btrfs", 128 << 20, "memory");
  run("mount", "-o", `remount,${options}`, mount);
  return mount;
}

/** An overlay, all of whose layers are on a filesystem that is there. */
export function overlay(t: TestContext, below: string): string {
  const parts = ["lower", "upper", "work"].map((name) => path.join(below, name));
  for (const part of parts) mkdirSync(part);
  const [lower, upper, work] = parts;
  return mounted(t, "-t", "overlay", "-o", `lowerdir=${lower},upperdir=${upper},workdir=${work}`, "pinless-test");
}

/** A squashfs of these files. */
export function squashfs(t: TestContext, files: Readonly<Record<string, Uint8Array>>): string {
  const directory = scratchDirectory(t);
  const content = path.join(directory, "content");
  mkdirSync(content);
  for (const [name, bytes] of Object.entries(files)) writeFileSync(path.join(content, name), bytes);
  const file = path.join(directory, "squashfs");
  run("mksquashfs", content, file, "-quiet", "-no-progress");
  return mounted(t, "-o", "loop", file);
}

/** A filesystem on a loop device over this file, which is read and written around its page cache. */
export function diskOn(t: TestContext, filesystem: "btrfs" | "ext4" | "xfs", file: string): { mount: string } {
  const args = ["--find", "--show", "--direct-io=on", file];
  const device = execFileSync("losetup", args, { encoding: "utf8" }).trim();
  undoingByShell(t, `losetup -d '${device}'`);
  run(`mkfs.${filesystem}`, "-q", device);
  return { mount: mounted(t, device) };
}

/** An ext4 whose device fails once `roomBytes` of it are written. */
export function failingDisk(t: TestContext, bytes: number, roomBytes: number): string {
  const { device } = loopDevice(t, bytes, tmpfs(t, roomBytes));
  run("mkfs.ext4", "-q", device);
  return mounted(t, device);
}

/** Takes a mount away from its path; open files of it go on working. */
export function unmountLazily(at: string): void {
  run("umount", "-l", at);
}

export function tmpfs(t: TestContext, bytes: number): string {
  return mounted(t, "-t", "tmpfs", "-o", `size=${bytes}`, "pinless-test");
}

/** The same again, where nothing can be written. */
export function readOnly(t: TestContext, of: string): string {
  const at = mounted(t, "--bind", of);
  run("mount", "-o", "remount,bind,ro", at);
  return at;
}

/** A filesystem without files that have no name, and without any that could be written. */
export function mqueue(t: TestContext): string {
  return mounted(t, "-t", "mqueue", "pinless-test");
}

/** A filesystem without O_DIRECT. */
export function ramfs(t: TestContext): string {
  return mounted(t, "-t", "ramfs", "pinless-test");
}

/** Swap on a file, at the highest priority. Not zram: that keeps what clean pages lose. */
export function swap(t: TestContext, bytes: number): void {
  const directory = scratchDirectory(t);
  const file = path.join(directory, "swap");
  undoingByShell(t, `swapoff '${file}' 2>&1 || ! grep -q '^${file} ' /proc/swaps`);
  run("fallocate", "-l", String(bytes), file);
  execFileSync("chmod", ["600", file]);
  run("mkswap", file);
  run("swapon", "-p", "32767", file);
}
