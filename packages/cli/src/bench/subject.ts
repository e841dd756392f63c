/** Opens what a configuration needs for a task, and reports what really ran. */

import { constants, readFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { release } from "node:os";
import { type Arena, Engine, type EngineStats, type File } from "pinless";
import { Unavailable } from "./bench-error.js";
import { arenaOptions, type EngineReads, type NodeReads, type PageSize } from "./configurations.js";
import { IN_FLIGHT } from "./meter.js";
import type { Ran } from "./report-schema.js";
import { allowHugePages, forbidHugePages } from "./scattered-memory.js";
import type { Target } from "./worker-protocol.js";

/** Eight chunks: enough for a storm, and small enough to stay nearly in a processor's cache. */
const ARENA_BYTES = 16 << 20;
const CHUNK_BYTES = 2 << 20;
const WASM_PAGE_BYTES = 65536;
/** Request sizes of the loads. */
const LOAD_BYTES = [128 << 10, 4096] as const;

export interface EngineSubject {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  ran(): Ran;
  close(): Promise<void>;
}

export interface SubjectOptions {
  /** Size of the arena. */
  readonly bytes?: number;
  /** Name of a file for a trace. */
  readonly trace?: string | null;
}

export async function openEngine(
  reads: EngineReads,
  target: Target,
  { bytes = ARENA_BYTES, trace = null }: SubjectOptions = {},
): Promise<EngineSubject> {
  // Twice the depth is needed, because a request's slot becomes free only after its callback has returned. The storm
  // pages memory out and in, so that what is compared are the pin modes from beginning to end.
  const engine = await Engine.open({
    scheme: reads.scheme,
    pin: reads.pin,
    depth: 2 * IN_FLIGHT,
    events: { pressure: false },
    ...(trace === null ? {} : { trace }),
  });
  try {
    const file = await engine.openFile(target.path);
    const before = hugeBytes();
    const arena = await madeOf(reads.pages, () => engine.arena({ ...arenaOptions(reads), bytes }));
    const hugeShare = Math.round(Math.min(1, Math.max(0, hugeBytes() - before) / bytes) * 1e3) / 1e3;
    return {
      engine,
      arena,
      file,
      ran() {
        const stats = engine.stats();
        const degraded = [...stats.degraded];
        if (!file.direct) degraded.push("the filesystem has no O_DIRECT: page cache");
        if (trace !== null) degraded.push("a trace is written, which takes time with each request");
        return {
          scheme: engine.scheme,
          pin: engine.pin,
          direct: file.direct,
          kernel: release(),
          filesystem: target.filesystem,
          registeredShare: registeredShare(stats),
          hugeShare,
          degraded,
        };
      },
      close: () => engine.close(),
    };
  } catch (error) {
    await engine.close();
    throw error;
  }
}

/**
 * Makes an arena of the wanted pages. Where transparent_hugepage/enabled is "always", small pages need huge ones to be
 * switched off for the process.
 */
export async function madeOf(pages: PageSize, make: () => Promise<Arena>): Promise<Arena> {
  if (pages === "huge") return make();
  await forbidHugePages();
  try {
    return await make();
  } finally {
    // Huge pages are allowed again afterwards, because `collapse` is meant to make them.
    await allowHugePages();
  }
}

/** Bytes of this process in huge pages. */
function hugeBytes(): number {
  const text = readFileSync("/proc/self/smaps_rollup", "utf8");
  return Number(/^AnonHugePages:\s*(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}

/** Fraction of requests that used a registration, to four decimal places. */
function registeredShare({ submitted, perIo, pin }: EngineStats): number {
  if (submitted === 0 || pin === "per-io") return 0;
  return Math.round(Math.max(0, 1 - perIo / submitted) * 1e4) / 1e4;
}

/** Cuts an arena into buffers of one size, in ascending order of addresses. */
export function cut(arena: Arena, bytes: number): readonly Uint8Array[] {
  const buffers = Array.from({ length: arena.bytes / bytes }, () => arena.alloc(bytes));
  return buffers.sort((a, b) => a.byteOffset - b.byteOffset);
}

/** Chooses buffers far from each other, so that every chunk gets its share. */
export function spread(buffers: readonly Uint8Array[], count = IN_FLIGHT): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, i) => buffers[Math.floor((i * buffers.length) / count)]!);
}

/** An arena laid out for loads, with buffers of each size in every chunk. */
export interface BenchLayout {
  readonly chunks: readonly Uint8Array[];
  /** `IN_FLIGHT` buffers of each size, by size in bytes. */
  readonly buffers: ReadonlyMap<number, readonly Uint8Array[]>;
}

export function layOut(arena: Arena): BenchLayout {
  const count = arena.bytes / CHUNK_BYTES;
  const chunks: Uint8Array[] = [];
  const buffers = new Map<number, Uint8Array[]>(LOAD_BYTES.map((bytes) => [bytes, []]));
  for (let i = 0; i < count; i++) {
    const pieces: Uint8Array[] = [];
    let left = CHUNK_BYTES;
    for (const [bytes, all] of buffers) {
      for (let n = 0; n < IN_FLIGHT / count; n++) {
        const buffer = arena.alloc(bytes);
        left -= bytes;
        all.push(buffer);
        pieces.push(buffer);
      }
    }
    pieces.push(arena.alloc(left));
    const start = Math.min(...pieces.map(({ byteOffset }) => byteOffset));
    const chunk = new Uint8Array(pieces[0]!.buffer, start, CHUNK_BYTES);
    // Memory in use isn't zeros. Zeros are a special case: the kernel maps all of them to one page when it splits a
    // huge page.
    chunk.fill(0xa5);
    chunks.push(chunk);
  }
  return { chunks, buffers };
}

export interface NodeSubject {
  readonly handle: FileHandle;
  readonly buffers: readonly Uint8Array[];
  ran(): Ran;
  close(): Promise<void>;
}

export async function openNode(reads: NodeReads, target: Target, requestBytes: number): Promise<NodeSubject> {
  const flags = reads.direct ? constants.O_RDONLY | constants.O_DIRECT : constants.O_RDONLY;
  const handle = await open(target.path, flags).catch((error: NodeJS.ErrnoException) => {
    if (reads.direct && error.code === "EINVAL") throw new Unavailable("the filesystem has no O_DIRECT");
    throw error;
  });
  const memory = alignedMemory(IN_FLIGHT * requestBytes);
  return {
    handle,
    buffers: Array.from({ length: IN_FLIGHT }, (_, i) => new Uint8Array(memory, i * requestBytes, requestBytes)),
    ran: () => ({
      scheme: "node:fs",
      pin: "none",
      direct: reads.direct,
      kernel: release(),
      filesystem: target.filesystem,
      registeredShare: 0,
      hugeShare: null,
      degraded: [],
    }),
    close: () => handle.close(),
  };
}

/**
 * Allocates memory aligned to a page for O_DIRECT, as WebAssembly memory; a Buffer may begin anywhere. Node's types
 * declare WebAssembly only together with the DOM.
 */
function alignedMemory(bytes: number): ArrayBuffer {
  const { WebAssembly } = globalThis as unknown as {
    WebAssembly: { Memory: new (limits: { initial: number; maximum: number }) => { buffer: ArrayBuffer } };
  };
  const pages = bytes / WASM_PAGE_BYTES;
  return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
}
