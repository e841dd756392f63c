/** A configuration at work: what each task needs open, and what really ran. */

import { constants, readFileSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { release } from "node:os";
import { type Arena, Engine, type EngineStats, type File } from "pinless";
import { Unavailable } from "./bench-error.js";
import { arenaOptions, type EngineReads, type NodeReads, type Pages } from "./configurations.js";
import { IN_FLIGHT } from "./meter.js";
import type { Ran } from "./report-schema.js";
import { smallPagesOnly } from "./scattered-memory.js";
import type { Target } from "./worker-protocol.js";

/** Eight chunks: enough for a storm to have somewhere to go, and small enough to stay in a processor's cache or nearly. */
const ARENA_BYTES = 16 << 20;
const CHUNK_BYTES = 2 << 20;
const WASM_PAGE_BYTES = 65536;
/** The sizes of requests that loads are made of. */
const LOAD_BYTES = [128 << 10, 4096] as const;

export interface EngineSubject {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  ran(): Ran;
  close(): Promise<void>;
}

export async function openEngine(reads: EngineReads, target: Target, bytes = ARENA_BYTES): Promise<EngineSubject> {
  // Twice the depth: a request's slot is free again only once its callback has returned.
  // The storm pages memory out and in. What's compared are ways to pin, each from beginning to end.
  const engine = await Engine.open({
    scheme: reads.scheme,
    pin: reads.pin,
    depth: 2 * IN_FLIGHT,
    events: { pressure: false },
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
        const degraded = file.direct
          ? stats.degraded
          : [...stats.degraded, "the filesystem has no O_DIRECT: page cache"];
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

/** Where transparent_hugepage/enabled is "always", memory is in huge pages whoever asks for it, unless the process may have none. */
export async function madeOf(pages: Pages, make: () => Promise<Arena>): Promise<Arena> {
  if (pages === "huge") return make();
  await smallPagesOnly(true);
  try {
    return await make();
  } finally {
    // Later a small page may become part of a huge one: that's what a collapse is asked for.
    await smallPagesOnly(false);
  }
}

/** Of this process. */
function hugeBytes(): number {
  const text = readFileSync("/proc/self/smaps_rollup", "utf8");
  return Number(/^AnonHugePages:\s*(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
}

/** Requests that neither went through the page cache nor without a registration, to four places. */
function registeredShare({ submitted, perIo, pin }: EngineStats): number {
  if (submitted === 0 || pin === "per-io") return 0;
  return Math.round(Math.max(0, 1 - perIo / submitted) * 1e4) / 1e4;
}

/** The arena cut into buffers of one size, in the order of their addresses. */
export function cut(arena: Arena, bytes: number): readonly Uint8Array[] {
  const buffers = Array.from({ length: arena.bytes / bytes }, () => arena.alloc(bytes));
  return buffers.sort((a, b) => a.byteOffset - b.byteOffset);
}

/** So many of them, far from each other: every chunk gets its share. */
export function spread(buffers: readonly Uint8Array[], count = IN_FLIGHT): readonly Uint8Array[] {
  return Array.from({ length: count }, (_, i) => buffers[Math.floor((i * buffers.length) / count)]!);
}

/** An arena laid out for loads: buffers of each size in every chunk. */
export interface Layout {
  readonly chunks: readonly Uint8Array[];
  /** `IN_FLIGHT` of them, by their size in bytes. */
  readonly buffers: ReadonlyMap<number, readonly Uint8Array[]>;
}

export function layOut(arena: Arena): Layout {
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
    // Memory in use has content. Zeros are a special case for the kernel: it shares one page for all of them when it splits a huge page.
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

/** WebAssembly's memory begins on a page, as O_DIRECT wants it; a Buffer begins anywhere. Node's types have it only with the DOM's. */
function alignedMemory(bytes: number): ArrayBuffer {
  const { WebAssembly } = globalThis as unknown as {
    WebAssembly: { Memory: new (limits: { initial: number; maximum: number }) => { buffer: ArrayBuffer } };
  };
  const pages = bytes / WASM_PAGE_BYTES;
  return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
}
