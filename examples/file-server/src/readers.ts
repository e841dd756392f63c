/** The two ways to read files: pinless, and node:fs to compare with. Everything else of the server is the same. */

import { open } from "node:fs/promises";
import { Engine } from "pinless";

/** Bytes of a block: of one read of the disk, and of one write to a socket. */
export const BLOCK_BYTES = 256 << 10;

/** An open file as both readers have it: FileHandle of node:fs, and File of pinless, which has the same methods. */
export interface OpenFile {
  /** Reads at a multiple of 4096 bytes; resolves to fewer bytes than the block has only at the end of the file. */
  read(block: Uint8Array, options: { position: number }): Promise<{ bytesRead: number }>;
  close(): Promise<void>;
}

export interface Reader {
  readonly name: "pinless" | "node";
  /** All memory that files are read into. */
  readonly blocks: readonly Uint8Array[];
  open(path: string): Promise<OpenFile>;
  /** Figures of its own, for the metrics. */
  figures(): Record<string, number>;
  close(): Promise<void>;
}

/** Reads around the page cache, from the disk straight into the blocks. */
export async function pinlessReader(count: number): Promise<Reader> {
  const engine = await Engine.open();
  const arena = await engine.arena({ bytes: count * BLOCK_BYTES });
  return {
    name: "pinless",
    blocks: Array.from({ length: count }, () => arena.alloc(BLOCK_BYTES)),
    open: (path) => engine.openFile(path),
    figures() {
      const { submitted, buffered, bounced, leases, degraded } = engine.stats();
      return { reads: submitted, buffered, bounced, leased_bytes: leases.bytes, degraded: degraded.length };
    },
    close: () => engine.close(),
  };
}

/** Reads through the page cache, on libuv's threads. */
export async function nodeReader(count: number): Promise<Reader> {
  return {
    name: "node",
    blocks: Array.from({ length: count }, () => new Uint8Array(BLOCK_BYTES)),
    open: (path) => open(path),
    figures: () => ({}),
    close: async () => {},
  };
}
