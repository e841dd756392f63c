/** Checks what a job reads against what was written: by headers with checksums, or by a pattern. */

import { BlockHeaders, blockBytes } from "./block-headers.js";
import { patternAt } from "./io-buffers.js";
import type { Access, Job } from "./job.js";

export class Verifier {
  readonly #job: Job;
  readonly #headers: BlockHeaders | null;

  constructor(job: Job) {
    this.#job = job;
    this.#headers = job.verify === "pattern" ? null : new BlockHeaders(job);
  }

  /** Checks a buffer that was read; the text of the first miss, or null. */
  check(buffer: Uint8Array, access: Access): string | null {
    const bytes = blockBytes(this.#job, buffer);
    for (let at = 0; at < buffer.byteLength; at += bytes) {
      const block = buffer.subarray(at, at + bytes);
      const offset = access.offset + at;
      const miss = this.#headers?.check(block, offset) ?? this.#checkPattern(block, at, access.offset);
      if (miss !== null) return `verify: the block at offset ${offset}, length ${block.byteLength}: ${miss}`;
    }
    return null;
  }

  #checkPattern(block: Uint8Array, at: number, offset: number): string | null {
    const { verify, verifyPattern } = this.#job;
    if (verifyPattern === null || (verify !== "pattern" && verify !== "pattern_hdr" && verify !== "meta")) return null;
    const pattern = patternAt(verifyPattern, offset);
    for (let i = this.#headers?.bytes ?? 0; i < block.byteLength; i++) {
      const wanted = pattern[(at + i) % pattern.byteLength];
      if (block[i] !== wanted) return `byte ${i} is ${block[i]}, and ${wanted} was written`;
    }
    return null;
  }
}
