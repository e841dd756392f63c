/** Contents of what a job writes: random, zeros or a pattern, and headers where blocks are verified. */

import { BlockHeaders } from "./block-headers.js";
import type { Access, Job, Pattern } from "./job.js";
import { leastBlock } from "./layout.js";
import { PURPOSES } from "./seeds.js";
import { Tausworthe } from "./tausworthe.js";

const SECTOR_BYTES = 512;

export class IoBuffers {
  readonly #job: Job;
  readonly #random: Tausworthe;
  readonly #headers: BlockHeaders | null;
  /** Bytes that have contents, by the place of a buffer in its memory. */
  readonly #filled = new Map<number, number>();
  #writes = 0;

  constructor(job: Job) {
    this.#job = job;
    this.#random = new Tausworthe(job.seeds[PURPOSES.buffer]!);
    this.#headers = job.verify === null || job.verify === "pattern" ? null : new BlockHeaders(job);
  }

  /** Fills a buffer before it's written. */
  fill(buffer: Uint8Array, access: Access): void {
    const { verify, verifyPattern, refillBuffers, scrambleBuffers, zeroBuffers, bufferPattern } = this.#job;
    if (verify !== null) {
      if (verifyPattern === null) this.#fillRandom(buffer);
      else repeat(buffer, verifyPattern, access.offset);
      this.#headers?.write(buffer, access, this.#writes);
    } else if (refillBuffers || (this.#filled.get(buffer.byteOffset) ?? 0) < buffer.byteLength) {
      this.#fillPlain(buffer);
      this.#filled.set(buffer.byteOffset, buffer.byteLength);
    } else if (scrambleBuffers && !zeroBuffers && bufferPattern === null) this.#scramble(buffer, access.offset);
    this.#writes++;
  }

  #fillPlain(buffer: Uint8Array): void {
    const { bufferCompressPercentage, bufferCompressChunk, bufferPattern, zeroBuffers } = this.#job;
    if (bufferCompressPercentage > 0 && bufferCompressPercentage < 100) {
      const chunk = Math.min(leastBlock(this.#job), bufferCompressChunk || buffer.byteLength);
      const incompressible = Math.floor((chunk * (100 - bufferCompressPercentage)) / 100);
      for (let at = 0; at < buffer.byteLength; at += chunk) {
        const part = buffer.subarray(at, at + chunk);
        this.#fillRandom(part.subarray(0, incompressible));
        fillRest(part.subarray(incompressible), bufferPattern);
      }
    } else if (bufferPattern !== null || zeroBuffers) fillRest(buffer, bufferPattern);
    else this.#fillRandom(buffer);
  }

  /** G. Marsaglia's xorshift of 32 bits: contents that don't compress, at the speed of memory nearly. */
  #fillRandom(buffer: Uint8Array): void {
    let value = this.#random.next() | 1;
    const isAligned = buffer.byteOffset % 4 === 0;
    const words = isAligned ? buffer.byteLength >>> 2 : 0;
    const view = new Uint32Array(buffer.buffer, isAligned ? buffer.byteOffset : 0, words);
    for (let i = 0; i < words; i++) {
      value ^= value << 13;
      value ^= value >>> 17;
      value ^= value << 5;
      view[i] = value;
    }
    for (let i = words * 4; i < buffer.byteLength; i++) {
      value = Math.imul(value, 1664525) + 1013904223;
      buffer[i] = value >>> 24;
    }
  }

  /** Makes each sector another than before, and than any other. */
  #scramble(buffer: Uint8Array, offset: number): void {
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    for (let at = 0; at + 12 <= buffer.byteLength; at += SECTOR_BYTES) {
      view.setFloat64(at, offset + at, true);
      view.setUint32(at + 8, this.#writes, true);
    }
  }
}

function fillRest(buffer: Uint8Array, pattern: Pattern | null): void {
  if (pattern === null) buffer.fill(0);
  else repeat(buffer, pattern, 0);
}

/** Fills a buffer with a pattern, again and again; `%o` is the offset of the I/O. */
function repeat(buffer: Uint8Array, pattern: Pattern, offset: number): void {
  const bytes = patternAt(pattern, offset);
  buffer.set(bytes.subarray(0, buffer.byteLength));
  for (let filled = bytes.byteLength; filled < buffer.byteLength; filled *= 2)
    buffer.copyWithin(filled, 0, Math.min(filled, buffer.byteLength - filled));
}

/** Bytes of a pattern for the I/O at an offset. */
export function patternAt({ bytes, offsetsAt }: Pattern, offset: number): Uint8Array {
  if (offsetsAt.length === 0) return bytes;
  const own = Uint8Array.from(bytes);
  const view = new DataView(own.buffer);
  for (const at of offsetsAt) view.setBigUint64(at, BigInt(offset), true);
  return own;
}
