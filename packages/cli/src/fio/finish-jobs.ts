/** Works out what depends on several options of a job, and makes a job of each thread. */

import { statSync } from "node:fs";
import { DIRECTIONS, type Job, type PerDirection, type SizeRange } from "./job.js";
import { JobError, locating } from "./job-error.js";
import type { Draft, RawOptions } from "./option-row.js";
import { ENGINES } from "./options-run.js";
import { freshSeed, jobSeeds } from "./seeds.js";

const DEFAULT_SEED = 0x89n;

/** Jobs of the drafts, those of `numjobs` in fio's order. Throws `JobError`. */
export function finishJobs(drafts: readonly Draft[], isReadonly: boolean, warnings: string[]): readonly Job[] {
  const jobs: Job[] = [];
  const group = { id: 0, jobs: 0 };
  for (const draft of drafts) {
    locating(draft.place, () => {
      const options = { ...dependent(draft, warnings), readonly: isReadonly };
      refuseContradictions(options, draft.name, drafts);
      if ((options.stonewall || options.newGroup) && group.jobs > 0)
        Object.assign(group, { id: group.id + 1, jobs: 0 });
      for (const subjobNumber of subjobNumbers(options.numJobs)) {
        jobs.push(thread(draft, options, { threadNumber: jobs.length, subjobNumber, groupId: group.id }));
        group.jobs++;
      }
    });
  }
  return jobs;
}

/** Numbers of the threads of a job in the order in which fio makes them: 0, and then from the last one down. */
function subjobNumbers(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => (i === 0 ? 0 : count - i));
}

type Finished = Omit<Job, "name" | "place" | "files" | "given" | "seeds" | Numbers>;
type Numbers = "threadNumber" | "subjobNumber" | "groupId";

function thread(
  { name, place, given, options: draftOptions }: Draft,
  options: Finished,
  numbers: Pick<Job, Numbers>,
): Job {
  const { subjobNumber, threadNumber } = numbers;
  const isFirst = subjobNumber === 0;
  const files = fileNames(options, name, subjobNumber);
  return {
    ...options,
    ...numbers,
    name: draftOptions.title ?? name,
    place,
    given,
    files,
    nrFiles: files.length,
    stonewall: isFirst && options.stonewall,
    newGroup: isFirst && options.newGroup,
    // fio draws its first seeds before randseed takes randrepeat away.
    seeds: jobSeeds(seedOf(options), threadNumber + 1, draftOptions),
  };
}

function seedOf({ randRepeat, randSeed }: Finished): bigint {
  if (randSeed !== null) return BigInt(randSeed);
  return randRepeat ? DEFAULT_SEED : freshSeed();
}

/** Options after those that follow from others. */
function dependent(draft: Draft, warnings: string[]): Finished {
  const { rw, bs, bsRange, title, ...options } = draft.options;
  const isGiven = (name: string) => draft.names.has(name);
  const blockSize = blockSizes(bs, bsRange, options);
  const reads = rw.directions.includes("read");
  const noRandomMap = withoutMap(draft, blockSize, warnings);
  const isSynchronous =
    ENGINES[options.ioEngine as keyof typeof ENGINES] === "direct" && options.ioEngine !== "posixaio";
  const ioDepth = isSynchronous ? 1 : options.ioDepth;
  const depth = (value: number) => (value === 0 || value > ioDepth ? ioDepth : value);
  const reduced = options.gtodReduce;
  const disabled = {
    lat: reduced || options.disableLat,
    clat: reduced || options.disableClat,
    slat: reduced || options.disableSlat,
  };
  return {
    ...options,
    ...rw,
    blockSize,
    blockAlign: alignment(draft.options, blockSize, rw.isRandom),
    noRandomMap,
    scheme: ENGINES[options.ioEngine as keyof typeof ENGINES],
    ioDepth,
    ioDepthLow: depth(options.ioDepthLow),
    ioDepthBatch: depth(options.ioDepthBatch),
    ioDepthBatchCompleteMin: Math.min(options.ioDepthBatchCompleteMin, ioDepth),
    pin: options.fixedBuffers && !isGiven("pin") ? "lifetime" : options.pin,
    overwrite: options.overwrite || reads,
    invalidate: options.invalidate && !options.preRead,
    timeBased: timeBased(draft, warnings),
    thinktimeSpinUs: Math.min(options.thinktimeSpinUs, options.thinktimeUs),
    disableLat: disabled.lat,
    disableClat: disabled.clat,
    disableSlat: disabled.slat,
    disableBw: reduced || options.disableBw,
    latPercentiles: options.latPercentiles && !disabled.lat,
    clatPercentiles: options.clatPercentiles && !disabled.clat,
    slatPercentiles: options.slatPercentiles && !disabled.slat,
    randRepeat: options.randRepeat && !isGiven("randseed"),
    unitBase: options.unitBase === 0 ? 8 : options.unitBase,
    ...contents(draft.options, isGiven("refill_buffers"), reads),
    verifyInterval: verifyInterval(options.verifyInterval, blockSize, reads),
  };
}

type Contents = Pick<Job, "refillBuffers" | "scrambleBuffers" | "verify" | "zeroBuffers">;

/** Settings of the contents of buffers: a pattern excludes others; what is verified or compresses is filled anew. */
function contents(options: RawOptions, isRefillGiven: boolean, reads: boolean): Contents {
  const { bufferPattern, bufferCompressPercentage: compressed, verifyPattern } = options;
  const verify = options.verify ?? (verifyPattern === null ? null : "pattern_hdr");
  if (verify?.startsWith("pattern") === true && verifyPattern === null)
    throw new JobError(`verify=${verify} needs verify_pattern`);
  const hasPattern = bufferPattern !== null;
  const isFilledAnew = !isRefillGiven && (verify !== null || compressed > 0);
  return {
    verify,
    zeroBuffers: compressed === 100 || (options.zeroBuffers && !hasPattern),
    scrambleBuffers: options.scrambleBuffers && !hasPattern,
    refillBuffers: isFilledAnew || (hasPattern ? compressed > 0 || reads : options.refillBuffers),
  };
}

function blockSizes(
  bs: PerDirection<number>,
  range: PerDirection<SizeRange | null>,
  { blockSizeSplit }: Pick<RawOptions, "blockSizeSplit">,
): PerDirection<SizeRange> {
  const sizes = DIRECTIONS.map((direction): [string, SizeRange] => {
    const split = blockSizeSplit[direction].filter(({ percent }) => percent > 0).map(({ bytes }) => bytes);
    if (split.length > 0) return [direction, { min: Math.min(...split), max: Math.max(...split) }];
    return [direction, range[direction] ?? { min: bs[direction], max: bs[direction] }];
  });
  return Object.fromEntries(sizes) as PerDirection<SizeRange>;
}

function alignment(
  { blockAlign }: RawOptions,
  blockSize: PerDirection<SizeRange>,
  isRandom: boolean,
): PerDirection<number> {
  const of = (direction: (typeof DIRECTIONS)[number]) =>
    isRandom && blockAlign[direction] > 0 ? blockAlign[direction] : blockSize[direction].min;
  return { read: of("read"), write: of("write"), trim: of("trim") };
}

function withoutMap({ options }: Draft, blockSize: PerDirection<SizeRange>, warnings: string[]): boolean {
  const { noRandomMap, rw, blockAlign, randomDistribution } = options;
  const aligned = alignment(options, blockSize, rw.isRandom);
  if (!noRandomMap && DIRECTIONS.some((direction) => aligned[direction] !== blockSize[direction].min)) {
    warnings.push(`blockalign=${blockAlign.read} turns the random map off`);
    return true;
  }
  return noRandomMap || randomDistribution.read.kind !== "random";
}

function timeBased({ name, options }: Draft, warnings: string[]): boolean {
  if (!options.timeBased || options.runtimeUs > 0) return options.timeBased;
  warnings.push(`${name}: time_based has no effect without runtime`);
  return false;
}

/** Bytes of a verified block: a divisor of every size that's written. */
function verifyInterval(given: number, { read, write }: PerDirection<SizeRange>, reads: boolean): number {
  const wanted = given === 0 ? write.min : Math.min(given, write.min, reads ? read.min : write.min);
  return write.min % wanted === 0 && write.max % wanted === 0 ? wanted : greatestDivisor(write.min, write.max);
}

function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

function refuseContradictions(options: Finished, name: string, drafts: readonly Draft[]): void {
  const { size, blockSize, rate, rateIops, rateMin, rateIopsMin, waitFor } = options;
  const some = (values: PerDirection<number>) => DIRECTIONS.some((direction) => values[direction] > 0);
  const least = Math.min(...options.directions.map((direction) => blockSize[direction].min));
  if (DIRECTIONS.some((direction) => blockSize[direction].min < 1)) throw new JobError("an I/O has at least 1 byte");
  if (size !== null && size.percent === null && size.bytes < least)
    throw new JobError(`size=${size.bytes} is less than an I/O of ${least} bytes`);
  if (some(rate) && some(rateIops)) throw new JobError("rate and rate_iops exclude each other");
  if (DIRECTIONS.some((each) => rate[each] > 0 && rate[each] < rateMin[each]))
    throw new JobError("rate_min is more than rate");
  if (DIRECTIONS.some((each) => rateIops[each] > 0 && rateIops[each] < rateIopsMin[each]))
    throw new JobError("rate_iops_min is more than rate_iops");
  if (options.readonly && options.directions.includes("write"))
    throw new JobError(`${name} would write, and --readonly forbids it`);
  if (waitFor === null) return;
  if (waitFor === name) throw new JobError(`wait_for=${waitFor}: a job can't wait for itself`);
  const waitees = drafts.filter((other) => (other.options.title ?? other.name) === waitFor).length;
  if (waitees !== 1) throw new JobError(`wait_for=${waitFor}: there are ${waitees} jobs of this name`);
}

/** Paths of a job's files: those of `filename`, or names by `filename_format`, in the job's directory. */
function fileNames(options: Finished, name: string, subjobNumber: number): readonly string[] {
  const { directory, fileName, nrFiles } = options;
  const own = directory[(fileName.length > 0 ? 0 : subjobNumber) % directory.length];
  const inside = (path: string) => (own === undefined ? path : `${own}/${path}`);
  if (fileName.length > 0) return [...new Set(fileName)].map(inside);
  if (nrFiles === 1 && isDevice(name)) return [name];
  return Array.from({ length: nrFiles }, (_, i) => inside(formatted(options.fileNameFormat, name, subjobNumber, i)));
}

function formatted(format: string, name: string, subjobNumber: number, fileNumber: number): string {
  const words = { $jobname: name, $jobnum: String(subjobNumber), $filenum: String(fileNumber), $clientuid: "" };
  const pattern = format === "" ? "$jobname.$jobnum.$filenum" : format;
  return pattern.replace(
    /\$(jobname|jobnum|filenum|clientuid)/gi,
    (word) => words[word.toLowerCase() as keyof typeof words],
  );
}

function isDevice(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && (stat.isBlockDevice() || stat.isCharacterDevice());
}
