/**
 * Headers of verified blocks, in the format of fio 3.33: what either writes the other verifies. Little-endian:
 * magic (2 bytes), kind (2), bytes of the block (4), seed (8), offset in the file (8), seconds (4), nanoseconds (4),
 * number of the thread (2), number of the write (2), CRC-32C of these 36 bytes (4), and the checksum of the rest.
 */

import { createHash } from "node:crypto";
import { crc32c } from "@node-rs/crc32";
import { xxh32 } from "@node-rs/xxhash";
import { fioSha256 } from "./fio-sha256.js";
import type { Access, Job, Verification } from "./job.js";

const MAGIC = 0xacca;
const HEADER_BYTES = 40;
const CRC_AT = 36;
/** Seed of xxHash in fio. */
const XXHASH_SEED = 1;

interface Checksum {
  /** Number of the kind in headers. */
  readonly kind: number;
  readonly bytes: number;
  of(data: Uint8Array): Uint8Array;
}

const NOTHING = new Uint8Array(0);

const CHECKSUMS: Readonly<Record<Exclude<Verification, "pattern">, Checksum>> = {
  meta: { kind: 1, bytes: 0, of: () => NOTHING },
  md5: { kind: 2, bytes: 16, of: (data) => createHash("md5").update(data).digest() },
  crc32c: { kind: 5, bytes: 4, of: (data) => word(fioCrc32c(data)) },
  sha256: { kind: 9, bytes: 64, of: fioSha256 },
  xxhash: { kind: 15, bytes: 4, of: (data) => word(xxh32(data, XXHASH_SEED)) },
  // fio leaves the words of this digest in the CPU's order.
  sha1: { kind: 16, bytes: 20, of: (data) => createHash("sha1").update(data).digest().swap32() },
  pattern_hdr: { kind: 17, bytes: 0, of: () => NOTHING },
};

/** fio doesn't invert the checksum at its end. */
function fioCrc32c(data: Uint8Array): number {
  return ~crc32c(data) >>> 0;
}

function word(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export class BlockHeaders {
  /** Bytes of a header with its checksum. */
  readonly bytes: number;
  readonly #job: Job;
  readonly #checksum: Checksum;

  constructor(job: Job) {
    this.#job = job;
    this.#checksum = CHECKSUMS[job.verify as keyof typeof CHECKSUMS];
    this.bytes = HEADER_BYTES + this.#checksum.bytes;
  }

  /** Puts a header before each block of a buffer. */
  write(buffer: Uint8Array, { offset }: Access, writes: number): void {
    const bytes = blockBytes(this.#job, buffer);
    const now = Date.now();
    for (let at = 0; at < buffer.byteLength; at += bytes) {
      const block = buffer.subarray(at, at + bytes);
      const view = new DataView(block.buffer, block.byteOffset);
      view.setUint16(0, MAGIC, true);
      view.setUint16(2, this.#checksum.kind, true);
      view.setUint32(4, block.byteLength, true);
      view.setBigUint64(8, 0n, true);
      view.setBigUint64(16, BigInt(offset + at), true);
      view.setUint32(24, Math.floor(now / 1000), true);
      view.setUint32(28, (now % 1000) * 1e6, true);
      view.setUint16(32, this.#job.threadNumber + 1, true);
      view.setUint16(34, writes, true);
      view.setUint32(CRC_AT, fioCrc32c(block.subarray(0, CRC_AT)), true);
      block.set(this.#checksum.of(block.subarray(this.bytes)), HEADER_BYTES);
      this.#swap(block);
    }
  }

  /** Checks the header and the checksum of a block; the text of a miss, or null. */
  check(block: Uint8Array, offset: number): string | null {
    this.#swap(block);
    const view = new DataView(block.buffer, block.byteOffset);
    const magic = view.getUint16(0, true);
    if (magic !== MAGIC) return `its header begins with ${hex(magic)}, not with ${hex(MAGIC)}`;
    const length = view.getUint32(4, true);
    if (length !== block.byteLength) return `its header is of a block of ${length} bytes, not ${block.byteLength}`;
    const place = view.getBigUint64(16, true);
    if (place !== BigInt(offset)) return `its header is of the block at ${place}`;
    const crc = fioCrc32c(block.subarray(0, CRC_AT));
    if (crc !== view.getUint32(CRC_AT, true)) return "its header doesn't have the checksum that's in it";
    const kept = block.subarray(HEADER_BYTES, this.bytes);
    const found = this.#checksum.of(block.subarray(this.bytes));
    if (Buffer.compare(kept, found) === 0) return null;
    const { verify } = this.#job;
    const shown = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
    return `${verify} is ${shown(found)}, and its header says ${shown(kept)}`;
  }

  /** With `verify_offset` header and data change places after the checksums were made. */
  #swap(block: Uint8Array): void {
    const { verifyOffset } = this.#job;
    if (verifyOffset === 0) return;
    const header = block.slice(0, this.bytes);
    block.copyWithin(0, verifyOffset, verifyOffset + this.bytes);
    block.set(header, verifyOffset);
  }
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** Bytes of each verified block of a buffer. */
export function blockBytes({ verifyInterval, blockSizeUnaligned }: Job, buffer: Uint8Array): number {
  const isDivided = verifyInterval > 0 && verifyInterval <= buffer.byteLength && !blockSizeUnaligned;
  return isDivided ? verifyInterval : buffer.byteLength;
}
