/** Makes the files that jobs need, before the jobs run: as fio lays them out. */

import { randomFillSync } from "node:crypto";
import { accessSync, constants, createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import path from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { mountsOf } from "pinless/internal";
import { systemReason } from "../command/failures.js";
import { MAX_ENGINE_DEPTH } from "./io-ports.js";
import type { FileExtent, Job } from "./job.js";
import { JobError, locating } from "./job-error.js";
import { layOut } from "./layout.js";

const PIECE_BYTES = 1 << 20;

/** The parts of files of each job; nothing is written yet. Throws `JobError` for what can't be used. */
export function planFiles(jobs: readonly Job[], allowMountedWrite: boolean): ReadonlyMap<Job, readonly FileExtent[]> {
  const planned = (job: Job): readonly FileExtent[] =>
    locating(job.place, () => {
      if (job.direct && job.ioDepth > MAX_ENGINE_DEPTH)
        throw new JobError(
          `${job.name}: iodepth=${job.ioDepth} is too deep: an engine takes ${MAX_ENGINE_DEPTH} at most`,
        );
      const extents = layOut(job, sizeOf);
      for (const extent of extents) {
        const why = whyUnusable(job, extent, allowMountedWrite);
        if (why !== null) throw new JobError(`${job.name}: ${why}`);
      }
      return extents;
    });
  return new Map(jobs.map((job) => [job, planned(job)]));
}

/** Size of a regular file or a block device, or null if there is none. */
function sizeOf(file: string): number | null {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined) return null;
  return stat.isBlockDevice()
    ? SECTOR_BYTES * Number(readFileSync(`${deviceDirectory(stat.rdev)}/size`, "latin1"))
    : stat.size;
}

const SECTOR_BYTES = 512;

/** Directory of /sys of a device, by the number that stat(2) gives. */
export function deviceDirectory(device: number): string {
  return `/sys/dev/block/${deviceName(device)}`;
}

function deviceName(device: number): string {
  // As makedev(3) of glibc; the high bits of either part don't occur in practice.
  return `${(device >> 8) & 0xfff}:${(device & 0xff) | ((device >> 12) & 0xfff00)}`;
}

function whyUnusable(job: Job, { path: file, realBytes }: FileExtent, allowMountedWrite: boolean): string | null {
  const stat = statSync(file, { throwIfNoEntry: false });
  const writes = job.directions.includes("write");
  if (stat === undefined) return whyNotMade(job, file);
  if (stat.isDirectory()) return `${file} is a directory: give filename=, or directory= for files in it`;
  if (!stat.isFile() && !stat.isBlockDevice()) return `${file} is neither a regular file nor a block device`;
  const isShort = stat.isFile() && realBytes > stat.size;
  if (isShort && job.readonly) return `${file} has ${stat.size} bytes of ${realBytes}, and --readonly forbids more`;
  if (writes || isShort) {
    const why = whyNotWritable(file);
    if (why !== null) return why;
  }
  if (!writes || !stat.isBlockDevice() || allowMountedWrite) return null;
  const mount = mountsOf(readFileSync("/proc/self/mountinfo", "utf8")).find(({ device }) => isOn(device, stat.rdev));
  if (mount === undefined) return null;
  return `${file} is mounted on ${mount.at}, and writes would destroy that: give --allow-mounted-write to do it`;
}

function whyNotMade(job: Job, file: string): string | null {
  if (job.readonly) return `${file} doesn't exist, and --readonly forbids to make it`;
  if (!job.createFiles) return `${file} doesn't exist, and allow_file_create=0 forbids to make it`;
  const directory = path.dirname(file);
  return existsSync(directory) ? whyNotWritable(directory) : `${file} can't be made: there's no directory ${directory}`;
}

function whyNotWritable(target: string): string | null {
  try {
    accessSync(target, constants.W_OK);
    return null;
  } catch (error) {
    return `${target} can't be written: ${systemReason(error)}`;
  }
}

/** True if a mounted device is the one given, or a partition of it. */
function isOn(mounted: string, device: number): boolean {
  const name = deviceName(device);
  return mounted === name || existsSync(`/sys/dev/block/${name}/${lastPart(mounted)}`);
}

function lastPart(mounted: string): string {
  const uevent = `/sys/dev/block/${mounted}/uevent`;
  const name = existsSync(uevent) ? /^DEVNAME=(.*)$/m.exec(readFileSync(uevent, "utf8"))?.[1] : undefined;
  return name ?? "(none)";
}

/** Makes or extends the files of a job. Resolves to those that weren't there, and the number and bytes of all. */
export async function layFiles(
  job: Job,
  extents: readonly FileExtent[],
  signal: AbortSignal,
): Promise<{ readonly made: readonly string[]; readonly files: number; readonly bytes: number }> {
  const writes = job.directions.includes("write");
  // Only what is to be read has to have contents; other files need no more than a size.
  const isFilled = job.directions.includes("read") || (writes && job.overwrite);
  const made: string[] = [];
  let [files, bytes] = [0, 0];
  for (const { path: file, realBytes } of extents) {
    const stat = statSync(file, { throwIfNoEntry: false });
    if (stat !== undefined && (!stat.isFile() || stat.size >= realBytes)) continue;
    if (signal.aborted) break;
    if (stat !== undefined && !isFilled) await rm(file);
    await layFile(job, file, realBytes, isFilled, signal);
    if (stat === undefined) made.push(file);
    files++;
    bytes += realBytes;
  }
  return { made, files, bytes };
}

async function layFile(job: Job, file: string, bytes: number, isFilled: boolean, signal: AbortSignal): Promise<void> {
  const handle = await open(file, "w", 0o644);
  let isWhole = false;
  try {
    if (isFilled || job.fallocate === "truncate") await handle.truncate(bytes);
    if (!isFilled) {
      isWhole = true;
      return;
    }
    const piece = new Uint8Array(PIECE_BYTES);
    for (let at = 0; at < bytes && !signal.aborted; at += piece.byteLength) {
      if (!job.zeroBuffers) randomFillSync(piece);
      const left = Math.min(piece.byteLength, bytes - at);
      for (let done = 0; done < left; ) done += (await handle.write(piece, done, left - done, at + done)).bytesWritten;
    }
    await handle.sync();
    isWhole = !signal.aborted;
  } finally {
    await handle.close();
    // A part of a file would be taken for all of it by the next run.
    if (!isWhole) await rm(file, { force: true });
  }
}

/** Reads the files of a job into the page cache, with `pre_read=1`. */
export async function preRead({ preRead: isWanted }: Job, extents: readonly FileExtent[]): Promise<void> {
  if (!isWanted) return;
  for (const { path: file } of extents)
    await pipeline(createReadStream(file, { highWaterMark: PIECE_BYTES }), devNull());
}

function devNull(): Writable {
  return new Writable({ write: (_chunk, _encoding, done) => done() });
}

/** Removes regular files. */
export async function removeFiles(files: readonly string[]): Promise<void> {
  for (const file of files) if (statSync(file, { throwIfNoEntry: false })?.isFile() === true) await rm(file);
}
