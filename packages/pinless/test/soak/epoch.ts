// One engine, one arena and one file, under everything at once.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Arena, Engine, type EngineOptions, type File } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks } from "../support/blocks.js";
import { MEMORY_KINDS } from "../support/memory.js";
import { type Counts, otherThread, SHARED_BLOCKS } from "../support/other-thread.js";
import type { Random } from "../support/random.js";
import { CELL_BYTES, type Content } from "./content.js";
import type { Foreign } from "./foreign.js";
import { CHUNK_BYTES, Memory, PAGE_BYTES } from "./memory.js";

const WORKERS = 8;
const WORK_CHUNKS = 3;
const LARGEST_BYTES = 65536;
const POISON = 0x11;

/** Counts of the actions of each kind. */
export class Tally {
  readonly counts: Record<string, number> = {};

  add(what: string, count = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + count;
  }
}

export interface EpochOptions {
  readonly t: TestContext;
  readonly engine: EngineOptions;
  readonly path: string;
  readonly content: Content;
  readonly random: Random;
  readonly tally: Tally;
  readonly foreign: Foreign;
  readonly ms: number;
}

interface Bed extends EpochOptions {
  readonly opened: Engine;
  readonly arena: Arena;
  readonly file: File;
  readonly sink: File;
  readonly memory: Memory;
  goOn(): boolean;
}

export async function epoch(options: EpochOptions): Promise<void> {
  const { random, tally, ms } = options;
  const opened = await Engine.open({
    depth: 8 << random.below(5),
    lease: {
      chunk: random.below(2) === 0 ? 65536 : CHUNK_BYTES,
      idle: 1 + random.below(50),
      max: 5 + random.below(500),
    },
    ...options.engine,
  });
  try {
    // The last chunk is there to be unmapped.
    const bytes = (WORK_CHUNKS + 1) * CHUNK_BYTES;
    const arena = await opened.arena({ bytes, hugePages: random.below(2) === 0, shared: true });
    const memory = await Memory.of(arena);
    const file = await opened.openFile(options.path, "r+");
    const sink = await opened.openFile(`${options.path}-sink`, "w");
    const end = performance.now() + ms;
    let broken = false;
    const bed: Bed = { ...options, opened, arena, file, sink, memory, goOn: () => !broken && performance.now() < end };
    const working: Promise<void>[] = [ownOperations(bed), attached(bed), options.foreign.storms(bed, WORK_CHUNKS)];
    for (let id = 0; id < WORKERS; id++) working.push(worker(bed, id));
    if (options.engine.events === undefined) working.push(options.foreign.unmappings(bed, WORK_CHUNKS));
    const whole = working.map((each) =>
      each.catch((error: unknown) => {
        broken = true;
        throw error;
      }),
    );
    // All of them first: what still runs uses the memory.
    const ends = await Promise.allSettled(whole);
    for (const ended of ends) if (ended.status === "rejected") throw ended.reason;
    const { leases, revalidated, reissued, held, perIo, bounced, buffered, failed } = opened.stats();
    const figures = {
      revalidated,
      reissued,
      held,
      perIo,
      bounced,
      buffered,
      EFAULT: failed,
      "leases taken": leases.taken,
    };
    for (const [name, count] of Object.entries(figures)) tally.add(name, count);
  } finally {
    await opened.close();
  }
  const difference = options.content.difference(0, await readFile(options.path));
  assert.equal(difference, null, `on disk: ${difference?.text}`);
  tally.add("epochs");
}

/** Lets another thread's engine read into the same memory. */
async function attached({ t, engine, arena, path, tally, goOn }: Bed): Promise<void> {
  const file = `${path}-numbered`;
  await writeFile(file, numberedBlocks(SHARED_BLOCKS));
  const memory = arena.alloc(8 * BLOCK_BYTES);
  const other = await otherThread(t, arena.share(), engine, file);
  await other.ask("load", arena.positionOf(memory));
  while (goOn()) {
    await other.ask("discard", arena.positionOf(memory), BLOCK_BYTES);
    await sleep(20);
  }
  const { wrong, reads } = await other.ask<Counts>("stop");
  await other.ask("close");
  await other.worker.terminate();
  if (wrong.length > 0) throw new Wrong(`attached: ${wrong[0]}`);
  tally.add("reads of an attached engine", reads);
  await arena.free(memory);
}

/** Reads and writes a part of the file that's its own, by memory of the arena mostly. */
async function worker(bed: Bed, id: number): Promise<void> {
  const { random, content, arena, tally } = bed;
  const share = content.bytes / WORKERS;
  let buffer: Uint8Array | null = null;
  while (bed.goOn()) {
    buffer ??= arena.alloc(BLOCK_BYTES * (1 + random.below(LARGEST_BYTES / BLOCK_BYTES)));
    switch (random.below(20)) {
      case 0:
        await arena.free(buffer);
        buffer = null;
        break;
      case 1:
        await readOnly(bed, buffer, id * share);
        break;
      case 2:
        await arena.exclusive(buffer, (bytes) => void bytes.fill(POISON));
        tally.add("exclusive");
        break;
      case 3:
      case 4:
      case 5:
      case 6:
      case 7:
        await write(bed, buffer, id * share, share);
        break;
      default:
        await read(bed, buffer, id * share, share);
    }
  }
  if (buffer !== null) await arena.free(buffer);
}

/** Memory and a place in the file: blocks, or anything that's made of `unit`s. */
function location(
  { random }: Bed,
  buffer: Uint8Array,
  first: number,
  share: number,
  unit: number,
): { bytes: Uint8Array; position: number } {
  const aligned = random.below(3) > 0;
  const step = aligned ? BLOCK_BYTES : unit;
  const length = step * (1 + random.below(buffer.byteLength / step));
  const position = first + step * random.below((share - length) / step + 1);
  const offset = aligned
    ? step * random.below((buffer.byteLength - length) / step + 1)
    : random.below(buffer.byteLength - length + 1);
  if (random.below(5) > 0) return { bytes: buffer.subarray(offset, offset + length), position };
  const kinds = MEMORY_KINDS.filter((kind) => length % kind.unit === 0);
  const view = kinds[random.below(kinds.length)]!.make(length);
  return { bytes: new Uint8Array(view.buffer, view.byteOffset, length), position };
}

async function read(bed: Bed, buffer: Uint8Array, first: number, share: number): Promise<void> {
  const { content, file, memory, tally } = bed;
  const { bytes, position } = location(bed, buffer, first, share, 1);
  const began = memory.moment(bytes);
  bytes.fill(POISON);
  const { bytesRead } = await file.read(bytes, { position });
  assert.equal(bytesRead, bytes.byteLength);
  const difference = content.difference(position, bytes);
  const quiet = memory.wasQuiet(began);
  tally.add(quiet ? "reads" : "reads beside a discard");
  tally.add("bytes read", bytesRead);
  // Read, then discarded.
  if (difference === null || (difference.onlyZeros && !quiet)) return;
  throw new Wrong(difference.text);
}

async function write(bed: Bed, buffer: Uint8Array, first: number, share: number): Promise<void> {
  const { content, file, memory, tally } = bed;
  const { bytes, position } = location(bed, buffer, first, share, CELL_BYTES);
  const cells = [position / CELL_BYTES, (position + bytes.byteLength) / CELL_BYTES] as const;
  const began = memory.moment(bytes);
  bytes.set(content.next(...cells));
  const { bytesWritten } = await file.write(bytes, { position });
  assert.equal(bytesWritten, bytes.byteLength);
  const certain = memory.wasQuiet(began);
  content.written(...cells, { certain });
  tally.add(certain ? "writes" : "writes beside a discard");
  tally.add("bytes written", bytesWritten);
}

/** No I/O writes what is read-only. */
async function readOnly({ arena, file, tally }: Bed, buffer: Uint8Array, position: number): Promise<void> {
  await arena.protect("read", buffer);
  const error = await file.read(buffer, { position }).catch(({ code }) => code);
  assert.equal(error, "EFAULT");
  await arena.protect("readwrite", buffer);
  tally.add("protect");
}

/** The arena's own operations. */
async function ownOperations({ arena, memory, opened, random, tally, goOn }: Bed): Promise<void> {
  while (goOn()) {
    const chunk = random.below(WORK_CHUNKS);
    const pages = CHUNK_BYTES / PAGE_BYTES;
    const first = random.below(pages);
    const end = first + 1 + random.below(Math.min(64, pages - first));
    const range = memory.all.subarray(chunk * CHUNK_BYTES + first * PAGE_BYTES, chunk * CHUNK_BYTES + end * PAGE_BYTES);
    const lazily = random.below(2) === 0;
    const operations: Record<string, () => Promise<unknown>> = {
      discard: () => memory.discarding(chunk, () => arena.discard(range, { lazily })),
      collapse: () => arena.collapse(range),
      pageOut: () => arena.pageOut(range),
      migrate: () => arena.migrate({ node: 0 }, range),
      releasePins: () => opened.releasePins(),
    };
    const names = Object.keys(operations);
    const name = names[random.below(names.length)]!;
    // What this machine hasn't (swap, huge pages, move_pages) is counted as such.
    const absent = await operations[name]!().then(
      () => "",
      (error) => {
        if (/_NO_SWAP|_NO_HUGE_PAGES|_UNSUPPORTED/.test(String(error.code))) return " (not here)";
        // A worker may be giving back a buffer that the range touches.
        if (error.code === "ERR_PINLESS_NOT_ALLOCATED") return " (being freed)";
        throw error;
      },
    );
    tally.add(name + absent);
    await sleep(random.below(10));
  }
}

/** Bytes that nothing explains. */
export class Wrong extends Error {}
