/** Divides a job's bytes among its files: the part of each file that the job works on. */

import type { FileExtent, Job } from "./job.js";
import { JobError } from "./job-error.js";
import { PURPOSES } from "./seeds.js";
import { Tausworthe } from "./tausworthe.js";

/**
 * The parts of files that a job works on, in the order of the files.
 *
 * @param sizeOf - Bytes of a file, null if it isn't there.
 */
export function layOut(job: Job, sizeOf: (path: string) => number | null): readonly FileExtent[] {
  const { files, name, size, fileSize } = job;
  const sizes = files.map((path) => sizeOf(path) ?? 0);
  const isGiven = fileSize !== null || (size !== null && size.percent === null && size.bytes > 0);
  const missing = sizes.indexOf(0);
  if (!isGiven && missing >= 0)
    throw new JobError(`${name}: ${files[missing]} isn't there, or it's empty: say how large with size=`);
  const random = new Tausworthe(job.seeds[PURPOSES.fileSize]!);
  const extents = files.map((path, i) => extent(job, path, sizes[i]!, shareOf(job, i), random));
  const total = extents.reduce((sum, { bytes }) => sum + bytes, 0);
  const least = leastBlock(job);
  if (total < least) throw new JobError(`${name}: its files have ${total} bytes, less than an I/O of ${least} bytes`);
  return extents;
}

/** Smallest I/O of a job. */
export function leastBlock({ blockSize }: Job): number {
  return Math.min(blockSize.read.min, blockSize.write.min, blockSize.trim.min);
}

/** A file's share of `size`, the first ones with a block more if it doesn't divide; 0 if no size was given. */
function shareOf(job: Job, index: number): number {
  if (job.size === null) return 0;
  const share = Math.floor(job.size.bytes / job.files.length);
  const block = leastBlock(job);
  const extra = Math.floor((job.size.bytes - share * job.files.length) / block);
  return index < extra ? share + block : share;
}

function extent(job: Job, path: string, existing: number, share: number, random: Tausworthe): FileExtent {
  const { fileSize, size, name } = job;
  const offset = startOf(job, existing);
  const whole = wholeBytes(fileSize, existing, share + offset, share > 0, random);
  if (offset > whole)
    throw new JobError(`${name}: offset ${offset} is past the end of ${path}, which has ${whole} bytes`);
  let bytes = whole - offset;
  if (size?.percent != null && size.percent !== 100) {
    bytes = Math.min(bytes, Math.floor((whole * size.percent) / 100));
    bytes -= bytes % leastBlock(job);
  }
  return { path, offset, bytes, realBytes: Math.max(existing, offset + bytes) };
}

function wholeBytes(
  fileSize: Job["fileSize"],
  existing: number,
  shared: number,
  hasShare: boolean,
  random: Tausworthe,
): number {
  if (fileSize === null) return hasShare ? shared : existing;
  const { min, max } = fileSize;
  if (existing >= min && existing <= max && existing > 0) return existing;
  return min === max ? min : min + random.below(max - min + 1);
}

/** First byte of a file that's used: `offset`, and `offset_increment` for each job of numjobs. */
function startOf(
  { fileAppend, offset, offsetIncrement, offsetAlign, subjobNumber, ...job }: Job,
  existing: number,
): number {
  if (fileAppend) return existing;
  const part = ({ bytes, percent }: Job["offset"]) =>
    percent === null ? bytes : Math.floor((existing * percent) / 100);
  const start = part(offset) + subjobNumber * part(offsetIncrement);
  if (offset.percent === null && offsetIncrement.percent === null) return start;
  const align = offsetAlign > 0 ? offsetAlign : leastBlock(job as Job);
  return Math.ceil(start / align) * align;
}
