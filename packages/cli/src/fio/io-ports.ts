/**
 * Paths that a job's requests take: a pinless engine for direct I/O; Node's calls for I/O through the page cache, which
 * an engine is there to avoid.
 */

import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  fsync,
  fsyncSync,
  openSync,
  read,
  readSync,
  write,
  writeSync,
} from "node:fs";
import { getSystemErrorMap } from "node:util";
import { type Arena, Engine, type EngineStats, type File } from "pinless";
import { forgetCached, loadLibc } from "pinless/internal";
import { UsageError } from "../command/failures.js";
import type { FileExtent, Job } from "./job.js";

/** Errno of a request: 0, or negative; and the bytes that it moved. */
export type Completed = (slot: number, errno: number, bytes: number) => void;

export interface IoPort {
  /** Requests that it takes at a time. */
  readonly depth: number;
  /** True if `submit` returns only after the request's completion. */
  readonly isSynchronous: boolean;
  /** Path and scheme, as a sentence for the output. */
  readonly way: string;
  readonly arena: Arena | null;
  /** The first `bytes` bytes of a slot's memory. */
  view(slot: number, bytes: number): Uint8Array;
  /** Submits a transfer of the first `bytes` bytes of a slot's memory. */
  submit(isWrite: boolean, slot: number, file: number, offset: number, bytes: number): void;
  /** Writes a file's data to the disk, and with `all` its attributes too. */
  sync(file: number, all: boolean): Promise<void>;
  stats(): EngineStats | null;
  close(): Promise<void>;
}

const PAGE_BYTES = 4096;
const CHUNK_BYTES = 2 << 20;
/** Most requests in flight that an engine takes. */
export const MAX_ENGINE_DEPTH = 4096;
const SYNCHRONOUS = ["sync", "psync", "vsync", "pvsync", "pvsync2"];

/** Opens the path that a job asks for. */
export async function openPort(job: Job, extents: readonly FileExtent[], completed: Completed): Promise<IoPort> {
  if (job.direct) return EnginePort.open(job, extents, completed);
  if (job.invalidate) await loadLibc();
  return new NodePort(job, extents, completed);
}

function largestBytes({ blockSize }: Job): number {
  return Math.max(blockSize.read.max, blockSize.write.max);
}

function writes(job: Job): boolean {
  return job.directions.includes("write");
}

/** Views of the slots' memory, by length: they're made once, and a job has few block sizes. */
class SlotViews {
  readonly #views: readonly Map<number, Uint8Array>[];

  constructor(buffers: readonly Uint8Array[]) {
    this.#views = buffers.map((buffer) => new Map([[buffer.byteLength, buffer]]));
  }

  view(slot: number, bytes: number): Uint8Array {
    const views = this.#views[slot]!;
    const known = views.get(bytes);
    if (known !== undefined) return known;
    const [whole] = views.values();
    const made = whole!.subarray(0, bytes);
    views.set(bytes, made);
    return made;
  }
}

class EnginePort extends SlotViews implements IoPort {
  readonly depth: number;
  readonly isSynchronous = false;
  readonly way: string;
  readonly arena: Arena;
  readonly #engine: Engine;
  readonly #files: readonly File[];
  readonly #done: readonly ((errno: number, bytes: number) => void)[];
  readonly #waiting: (() => boolean)[] = [];

  static async open(job: Job, extents: readonly FileExtent[], completed: Completed): Promise<EnginePort> {
    const { ioDepth: depth, scheme, pin } = job;
    const engine = await Engine.open({
      scheme,
      pin,
      // A request's place becomes free only after its callback has returned.
      depth: Math.min(MAX_ENGINE_DEPTH, 2 * depth),
    });
    try {
      const files: File[] = [];
      for (const extent of extents) files.push(await openDirectly(engine, job, extent));
      return new EnginePort(job, engine, files, await arenaFor(engine, depth, largestBytes(job)), completed);
    } catch (error) {
      await engine.close();
      throw error;
    }
  }

  private constructor(job: Job, engine: Engine, files: readonly File[], arena: Arena, completed: Completed) {
    const slots = Array.from({ length: job.ioDepth }, (_, slot) => slot);
    super(slots.map(() => arena.alloc(largestBytes(job))));
    this.depth = job.ioDepth;
    this.way = wayOf(job, `pinless ${engine.scheme}, direct, pin ${engine.pin}`);
    this.arena = arena;
    this.#engine = engine;
    this.#files = files;
    this.#done = slots.map((slot) => (errno: number, bytes: number) => completed(slot, errno, bytes));
  }

  submit(isWrite: boolean, slot: number, file: number, offset: number, bytes: number): void {
    if (this.#waiting.length === 0 && this.#try(isWrite, slot, file, offset, bytes)) return;
    if (this.#waiting.push(() => this.#try(isWrite, slot, file, offset, bytes)) === 1) this.#wait();
  }

  #try(isWrite: boolean, slot: number, file: number, offset: number, bytes: number): boolean {
    const op = isWrite ? "write" : "read";
    return this.#files[file]!.submit(op, this.view(slot, bytes), offset, this.#done[slot]!) !== "busy";
  }

  #wait(): void {
    void this.#engine.drained().then(() => {
      while (this.#waiting[0]?.() === true) this.#waiting.shift();
      if (this.#waiting.length > 0) this.#wait();
    });
  }

  async sync(file: number, all: boolean): Promise<void> {
    await (all ? this.#files[file]!.sync() : this.#files[file]!.datasync());
  }

  stats(): EngineStats {
    return this.#engine.stats();
  }

  close(): Promise<void> {
    return this.#engine.close();
  }
}

async function openDirectly(engine: Engine, job: Job, { path, realBytes }: FileExtent): Promise<File> {
  const { sync, atomic, uncached } = job;
  const options = {
    ...(sync === "sync" ? { sync: true } : {}),
    ...(sync === "dsync" ? { dsync: true } : {}),
    ...(atomic ? { atomic } : {}),
    ...(uncached ? { uncached } : {}),
  };
  const file = await engine.openFile(path, writes(job) ? "r+" : "r", undefined, options);
  if (!file.direct)
    throw new UsageError(`${path} has no direct I/O: its filesystem refuses it, or uses the page cache; use direct=0`);
  const { offset } = file.alignment;
  for (const direction of job.directions)
    if (job.blockSize[direction].min % offset !== 0)
      throw new UsageError(
        `bs=${job.blockSize[direction].min} isn't a multiple of ${offset} bytes, as direct I/O on ${path} needs`,
      );
  const isShort = (await file.stat()).size < realBytes;
  // Where the filesystem can't allocate, fio goes on without, too.
  if (writes(job) && isShort && ALLOCATES.includes(job.fallocate))
    await file.allocate(0, realBytes, { keepSize: job.fallocate === "keep" }).catch(() => {});
  return file;
}

const ALLOCATES: readonly Job["fallocate"][] = ["native", "posix", "keep"];

/** An arena in which each buffer of a slot lies within a chunk, if it fits into one. */
function arenaFor(engine: Engine, depth: number, bytes: number): Promise<Arena> {
  const rounded = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
  const perChunk = Math.floor(CHUNK_BYTES / rounded);
  const chunks = perChunk === 0 ? depth * Math.ceil(rounded / CHUNK_BYTES) : Math.ceil(depth / perChunk);
  return engine.arena({ bytes: chunks * CHUNK_BYTES });
}

/** Sentence that says what runs in the place of the engine that the job names. */
function wayOf({ ioEngine, hiPri, sqThreadPoll }: Job, what: string): string {
  const hints = [...(hiPri ? ["hipri"] : []), ...(sqThreadPoll ? ["sqthread_poll"] : [])];
  const without = hints.length === 0 ? "" : `; without ${hints.join(" and ")}, which it doesn't have`;
  return `${ioEngine}: ${what}${without}`;
}

class NodePort extends SlotViews implements IoPort {
  readonly depth: number;
  readonly isSynchronous: boolean;
  readonly way: string;
  readonly arena = null;
  readonly #files: readonly number[];
  readonly #completed: Completed;

  constructor(job: Job, extents: readonly FileExtent[], completed: Completed) {
    const { ioDepth, ioEngine, sync, invalidate, atomic, uncached } = job;
    if (atomic || uncached)
      throw new UsageError(
        `${atomic ? "atomic" : "uncached"}=1 needs direct=1: an engine of pinless is for direct I/O`,
      );
    super(Array.from({ length: ioDepth }, () => new Uint8Array(largestBytes(job))));
    this.isSynchronous = SYNCHRONOUS.includes(ioEngine);
    this.depth = ioDepth;
    this.way = wayOf(job, "node:fs through the page cache, since direct=0 (an engine of pinless is for direct=1)");
    const access = writes(job) ? constants.O_RDWR : constants.O_RDONLY;
    const durable = { none: 0, sync: constants.O_SYNC, dsync: constants.O_DSYNC }[sync];
    this.#files = extents.map(({ path }) => openSync(path, access | durable));
    if (invalidate) for (const fd of this.#files) forgetCached(fd);
    this.#completed = completed;
  }

  submit(isWrite: boolean, slot: number, file: number, offset: number, bytes: number): void {
    const buffer = this.view(slot, bytes);
    const fd = this.#files[file]!;
    if (this.isSynchronous) {
      this.#transfer(isWrite, slot, fd, offset, bytes);
      return;
    }
    const done = (error: NodeJS.ErrnoException | null, moved: number): void =>
      this.#completed(slot, error?.errno ?? 0, error === null ? moved : 0);
    if (isWrite) write(fd, buffer, 0, bytes, offset, done);
    else read(fd, buffer, 0, bytes, offset, done);
  }

  #transfer(isWrite: boolean, slot: number, fd: number, offset: number, bytes: number): void {
    const buffer = this.view(slot, bytes);
    let moved = 0;
    let errno = 0;
    try {
      moved = isWrite ? writeSync(fd, buffer, 0, bytes, offset) : readSync(fd, buffer, 0, bytes, offset);
    } catch (error) {
      errno = (error as NodeJS.ErrnoException).errno ?? -1;
    }
    this.#completed(slot, errno, moved);
  }

  async sync(file: number, all: boolean): Promise<void> {
    const fd = this.#files[file]!;
    if (this.isSynchronous) return all ? fsyncSync(fd) : fdatasyncSync(fd);
    await new Promise<void>((resolve, reject) => {
      (all ? fsync : fdatasync)(fd, (error) => (error === null ? resolve() : reject(error)));
    });
  }

  stats(): null {
    return null;
  }

  async close(): Promise<void> {
    for (const fd of this.#files) closeSync(fd);
  }
}

/** Text of an errno, as strerror(3) has it nearly. */
export function errnoText(errno: number): string {
  return errno === 0 ? "Success" : (getSystemErrorMap().get(-Math.abs(errno))?.[1] ?? `errno ${errno}`);
}
