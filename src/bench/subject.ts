/** A configuration at work: what each task needs open, and what really ran. */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type Arena, Engine, type EngineStats, type File, probe } from "../index.js";
import type { EngineReads, NodeReads } from "./configurations.js";
import type { Ran } from "./figures.js";
import { IN_FLIGHT } from "./meter.js";
import type { Target } from "./protocol.js";

/** Eight chunks: enough for a storm to have somewhere to go, and small enough to stay in a processor's cache or nearly. */
export const ARENA_BYTES = 16 << 20;
const CHUNK_BYTES = 2 << 20;
const WASM_PAGE_BYTES = 65536;

export interface EngineSubject {
  readonly engine: Engine;
  readonly arena: Arena;
  readonly file: File;
  ran(): Promise<Ran>;
  close(): Promise<void>;
}

export async function openEngine(reads: EngineReads, target: Target, bytes = ARENA_BYTES): Promise<EngineSubject> {
  // Twice the depth: a request's slot is free again only once its callback has returned.
  const engine = await Engine.open({ pin: reads.pin, depth: 2 * IN_FLIGHT });
  try {
    const file = await engine.openFile(target.path);
    const arena = await engine.arena({ ...reads.arena, bytes });
    return {
      engine,
      arena,
      file,
      async ran() {
        const { kernel, filesystem } = await probe(target.path);
        const stats = engine.stats();
        return {
          scheme: engine.scheme,
          pin: engine.pin,
          direct: file.direct,
          kernel,
          filesystem,
          registeredShare: registeredShare(stats),
          degraded: file.direct ? stats.degraded : [...stats.degraded, "the filesystem has no O_DIRECT: page cache"],
        };
      },
      close: () => engine.close(),
    };
  } catch (error) {
    await engine.close();
    throw error;
  }
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

/** The chunks of the arena that was cut. */
export function chunksOf(buffers: readonly Uint8Array[], arenaBytes: number): readonly Uint8Array[] {
  const first = buffers[0]!;
  return Array.from(
    { length: arenaBytes / CHUNK_BYTES },
    (_, i) => new Uint8Array(first.buffer, first.byteOffset + i * CHUNK_BYTES, CHUNK_BYTES),
  );
}

export interface NodeSubject {
  readonly handle: FileHandle;
  readonly buffers: readonly Uint8Array[];
  ran(): Promise<Ran>;
  close(): Promise<void>;
}

export async function openNode(reads: NodeReads, target: Target, requestBytes: number): Promise<NodeSubject> {
  const handle = await open(target.path, reads.direct ? constants.O_RDONLY | constants.O_DIRECT : constants.O_RDONLY);
  const memory = alignedMemory(IN_FLIGHT * requestBytes);
  return {
    handle,
    buffers: Array.from({ length: IN_FLIGHT }, (_, i) => new Uint8Array(memory, i * requestBytes, requestBytes)),
    async ran() {
      const { kernel, filesystem } = await probe(target.path);
      const pin = "none";
      return { scheme: "node:fs", pin, direct: reads.direct, kernel, filesystem, registeredShare: 0, degraded: [] };
    },
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
