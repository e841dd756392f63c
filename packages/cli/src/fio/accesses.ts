/**
 * The I/Os of a job, in order: direction, file, offset and size of each. The same numbers are drawn as fio draws, so
 * counts and bytes, and for uniform orders also offsets, equal those of fio for the same job.
 */

import { BlockMap, MAX_MAPPED_BLOCKS } from "./block-map.js";
import { type BlockOrder, distributed, ShiftRegister } from "./block-orders.js";
import type { Access, Direction, FileExtent, Job } from "./job.js";
import { JobError } from "./job-error.js";
import { leastBlock } from "./layout.js";
import { PURPOSES } from "./seeds.js";
import { Tausworthe } from "./tausworthe.js";

const NAMES: readonly Direction[] = ["read", "write"];
const READ = 0;
const WRITE = 1;

/** Position of a job in a file. Numbers by direction are those of reads, and of writes. */
interface FileState {
  readonly extent: FileExtent;
  readonly map: BlockMap | null;
  /** Order of blocks that isn't uniform by `#block`; null for that. */
  readonly order: BlockOrder | null;
  readonly position: number[];
  readonly start: number[];
  isDone: boolean;
}

export class Accesses {
  readonly #job: Job;
  readonly #files: readonly FileState[];
  readonly #blocks = new Tausworthe(0);
  readonly #mix = new Tausworthe(0);
  readonly #sequence = [new Tausworthe(0), new Tausworthe(0)];
  readonly #file = new Tausworthe(0);
  readonly #sizes: BlockSizes;
  readonly #align: readonly number[];
  readonly #percentage: readonly number[];
  /** Bytes of one pass over the files, and of a loop, which may have several. */
  readonly #passBytes: number;
  readonly #loopBytes: number;
  #passDone = 0;
  #loopDone = 0;
  #direction = READ;
  readonly #issues = [0, 0];
  #mixUntil = 0;
  #untilDraw = 1;
  #doneFiles = 0;
  #current = -1;
  #leftOnFile = 0;
  // The I/O that's being made.
  #offset = 0;
  #bytes = 0;
  #mayRepeat = false;

  constructor(job: Job, extents: readonly FileExtent[]) {
    this.#job = job;
    this.#sizes = new BlockSizes(job);
    this.#align = [job.blockAlign.read, job.blockAlign.write];
    this.#percentage = [job.percentageRandom.read, job.percentageRandom.write];
    this.#files = extents.map((extent) => fileState(job, extent));
    const total = extents.reduce((sum, { bytes }) => sum + bytes, 0);
    const size = job.size === null || job.size.percent !== null ? total : Math.min(total, job.size.bytes);
    const { ioSize } = job;
    this.#loopBytes =
      ioSize === null ? size : ioSize.percent === null ? ioSize.bytes : Math.floor((total * ioSize.percent) / 100);
    const isMixed = job.directions.length > 1;
    const goesOn = job.isRandom ? job.noRandomMap && job.directions.includes("write") : isMixed;
    this.#passBytes = goesOn ? Math.max(size, this.#loopBytes) : size;
    this.#seed();
    this.#beginPass();
  }

  /** Fills in the next I/O; false at the end of a loop. */
  next(access: Access): boolean {
    while (this.#loopDone < this.#loopBytes) {
      if (this.#passDone < this.#passBytes && this.#take(access)) {
        this.#passDone += access.bytes;
        this.#loopDone += access.bytes;
        return true;
      }
      if (this.#passDone === 0 || this.#job.ioSize === null) return false;
      if (this.#loopBytes - this.#loopDone < this.#sizes.most) return false;
      this.#again();
    }
    return false;
  }

  /** Begins another loop. */
  restart(): void {
    this.#loopDone = 0;
    this.#again();
  }

  #again(): void {
    if (this.#job.randRepeat) this.#seed();
    this.#beginPass();
  }

  #seed(): void {
    const { seeds } = this.#job;
    this.#blocks.seed(seeds[PURPOSES.block]!);
    this.#mix.seed(seeds[PURPOSES.mix]!);
    this.#file.seed(seeds[PURPOSES.file]!);
    for (const each of this.#sequence) each.seed(seeds[PURPOSES.sequence]!);
    this.#sizes.seed();
  }

  #beginPass(): void {
    this.#passDone = 0;
    this.#mixUntil = 0;
    this.#doneFiles = 0;
    this.#current = -1;
    for (const file of this.#files) {
      file.isDone = false;
      file.position.fill(file.extent.offset);
      file.start.fill(-1);
      file.map?.clear();
      file.order?.restart();
    }
  }

  /** Makes an I/O on the next file that has one. */
  #take(access: Access): boolean {
    for (;;) {
      if (this.#doneFiles >= this.#files.length) return false;
      this.#chooseFile();
      const file = this.#files[this.#current]!;
      const direction = this.#chooseDirection();
      if (this.#fill(file, direction)) {
        file.start[direction] = this.#offset;
        file.position[direction] = this.#offset + this.#bytes;
        this.#issues[direction]!++;
        access.direction = NAMES[direction]!;
        access.file = this.#current;
        access.offset = this.#offset;
        access.bytes = this.#bytes;
        return true;
      }
      file.isDone = true;
      this.#doneFiles++;
    }
  }

  #chooseFile(): void {
    const { fileServiceType, fileServiceCount } = this.#job;
    const count = this.#files.length;
    if (this.#current >= 0 && !this.#files[this.#current]!.isDone) {
      if (count === 1 || fileServiceType === "sequential") return;
      if (this.#leftOnFile-- > 0) return;
    }
    do this.#current = fileServiceType === "random" ? this.#file.below(count) : (this.#current + 1) % count;
    while (this.#files[this.#current]!.isDone);
    this.#leftOnFile = fileServiceCount - 1;
  }

  #chooseDirection(): number {
    const { directions, rwmixRead } = this.#job;
    if (directions.length === 1) return directions[0] === "read" ? READ : WRITE;
    if (this.#issues[this.#direction]! < this.#mixUntil) return this.#direction;
    const direction = this.#mix.percent() <= rwmixRead ? READ : WRITE;
    if (direction !== this.#direction) {
      const share = this.#direction === READ ? 100 - rwmixRead : rwmixRead;
      this.#mixUntil = Math.floor((this.#issues[this.#direction]! * share) / 100);
      this.#direction = direction;
    }
    return direction;
  }

  /** Sets offset and size; false if the file has no more. */
  #fill(file: FileState, direction: number): boolean {
    const { extent, map } = file;
    this.#mayRepeat = false;
    const relative = this.#place(file, direction);
    if (relative < 0 || relative >= extent.bytes) return false;
    this.#offset = relative + extent.offset;
    this.#bytes = this.#sizes.next(direction, extent.offset + extent.bytes - this.#offset);
    if (this.#bytes === 0 || this.#offset + this.#bytes > extent.realBytes) return false;
    if (map !== null && !this.#mayRepeat) {
      const unit = this.#sizes.least[direction]!;
      const added = map.add(Math.floor(relative / unit), Math.ceil(this.#bytes / unit));
      this.#bytes = Math.min(this.#bytes, added * unit);
    }
    return true;
  }

  /** Offset from the beginning of the part of the file; -1 at its end. */
  #place(file: FileState, direction: number): number {
    const { isRandom, ioPerOffset, rwSequencer } = this.#job;
    if (!isRandom) return this.#sequential(file, direction);
    if (--this.#untilDraw > 0) {
      this.#mayRepeat = true;
      if (rwSequencer === "identical") return Math.max(0, file.start[direction]! - file.extent.offset);
      const next = this.#sequential(file, direction);
      return next >= 0 ? next : this.#random(file, direction);
    }
    this.#untilDraw = ioPerOffset;
    const percentage = this.#percentage[direction]!;
    if (percentage === 100 || this.#sequence[direction]!.percent() <= percentage) return this.#random(file, direction);
    this.#mayRepeat = true;
    const next = this.#sequential(file, direction);
    return next >= 0 ? next : this.#random(file, direction);
  }

  #sequential({ extent, position }: FileState, direction: number): number {
    const { offset, bytes, realBytes } = extent;
    const { skipBytes, directions } = this.#job;
    const end = Math.min(realBytes, bytes);
    if (directions.length > 1 && this.#loopBytes > this.#passBytes && position[direction]! >= bytes + offset)
      position[direction] = offset;
    if (position[direction]! >= realBytes) return -1;
    if (position[direction] === offset && offset > 0 && skipBytes < 0) position[direction] = end;
    const at = position[direction]! - offset;
    if (at === 0 || skipBytes === 0) return at;
    const next = at + skipBytes;
    if (next >= 0 && next < realBytes) return next;
    return skipBytes > 0 ? offset : end + skipBytes;
  }

  #random({ extent, map, order }: FileState, direction: number): number {
    const align = this.#align[direction]!;
    const least = this.#sizes.least[direction]!;
    const usable = Math.min(extent.bytes, extent.realBytes) - Math.max(0, least - align);
    const blocks = Math.floor(usable / align);
    if (blocks < 1) return -1;
    let block = order === null ? this.#blocks.below(blocks) : order.next();
    if (map?.has(block) === true) block = map.nextFree(block);
    return block < 0 ? -1 : block * align;
  }
}

function fileState(job: Job, extent: FileExtent): FileState {
  const { isRandom, noRandomMap, softRandomMap, randomGenerator, randomDistribution, seeds } = job;
  const blocks = Math.floor(Math.min(extent.bytes, extent.realBytes) / leastBlock(job));
  const seed = seeds[PURPOSES.block]!;
  const state = { extent, position: [0, 0], start: [-1, -1], isDone: false };
  if (!isRandom) return { ...state, map: null, order: null };
  if (blocks >= 2 ** 32) throw new JobError(`${extent.path} has ${blocks} blocks; at most 2^32 - 1 can be drawn from`);
  if (randomDistribution.read.kind !== "random")
    return { ...state, map: null, order: distributed(randomDistribution.read, blocks, new Tausworthe(seed)) };
  if (randomGenerator === "lfsr") return { ...state, map: null, order: new ShiftRegister(blocks, seed) };
  if (noRandomMap || (softRandomMap && blocks > MAX_MAPPED_BLOCKS)) return { ...state, map: null, order: null };
  if (blocks <= MAX_MAPPED_BLOCKS) return { ...state, map: new BlockMap(blocks), order: null };
  throw new JobError(
    `${extent.path} has ${blocks} blocks, too many for a map: use norandommap or random_generator=lfsr`,
  );
}

/** Draws the sizes of I/Os: `bs`, `bsrange`, `bssplit`. */
class BlockSizes {
  /** Smallest and largest by direction, and the largest of all. */
  readonly least: readonly number[];
  readonly most: number;
  readonly #greatest: readonly number[];
  readonly #splits: Job["blockSizeSplit"][Direction][];
  readonly #random = [new Tausworthe(0), new Tausworthe(0)];
  readonly #job: Job;

  constructor(job: Job) {
    const { blockSize, blockSizeSplit } = job;
    this.#job = job;
    this.least = [blockSize.read.min, blockSize.write.min];
    this.#greatest = [blockSize.read.max, blockSize.write.max];
    this.most = Math.max(...this.#greatest, blockSize.trim.max);
    this.#splits = [blockSizeSplit.read, blockSizeSplit.write];
  }

  seed(): void {
    const { seeds, verify } = this.#job;
    const ofReads = seeds[PURPOSES.blockSizeOfReads]!;
    this.#random[READ]!.seed(ofReads);
    // What is written has to be found again by reads of the same sizes.
    this.#random[WRITE]!.seed(verify === null ? seeds[PURPOSES.blockSizeOfWrites]! : ofReads);
  }

  /** @param room - Bytes from the offset to the end of the part of the file. */
  next(direction: number, room: number): number {
    const least = this.least[direction]!;
    const most = this.#greatest[direction]!;
    if (least === most) return least;
    if (room < least) return 0;
    const split = this.#splits[direction]!;
    for (;;) {
      const drawn = this.#random[direction]!.next();
      let bytes = split.length === 0 ? least + Math.floor(most * (drawn / 2 ** 32)) : splitSize(split, drawn, room);
      if (!this.#job.blockSizeUnaligned) bytes -= bytes % least;
      bytes = Math.min(bytes, most);
      if (bytes <= room) return bytes;
    }
  }
}

const PER_PERCENT = Math.floor((2 ** 32 - 1) / 100);

function splitSize(split: Job["blockSizeSplit"][Direction], drawn: number, room: number): number {
  let percent = 0;
  let size = 0;
  for (const share of split) {
    if (share.percent === 0) continue;
    size = share.bytes;
    percent += share.percent;
    if (Math.floor(drawn / percent) <= PER_PERCENT && size <= room) return size;
  }
  return size;
}
