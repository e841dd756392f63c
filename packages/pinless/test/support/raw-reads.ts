/** Direct reads straight into any memory, many at a time, as programs do them that know of nothing: by Linux AIO. */

import assert from "node:assert/strict";
import { closeSync, constants, openSync } from "node:fs";
import { openDirectFlag } from "../../dist/abi/numbers.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { type Direction, READ } from "../../dist/protocol/direction.js";
import type { BufferLocation, CompletionSink } from "../../dist/protocol/scheme.js";
import { AioScheme } from "../../dist/schemes/aio/aio-scheme.js";
import { addressOf } from "./proc.js";

const DEPTH = 64;

export class RawReads implements CompletionSink {
  readonly #fd: number;
  readonly #scheme: AioScheme;
  readonly #free = Array.from({ length: DEPTH }, (_, slot) => slot);
  readonly #begun: (readonly [direction: Direction, file: number, location: BufferLocation, position: number])[] = [];
  readonly #ended: ((result: number) => void)[] = [];

  private constructor(fd: number, scheme: AioScheme) {
    this.#fd = fd;
    this.#scheme = scheme;
  }

  static async open(path: string): Promise<RawReads> {
    await loadLibc();
    const scheme = AioScheme.open({ depth: DEPTH, woken: () => reads.#reap() });
    assert.ok(typeof scheme !== "number", `io_setup: errno ${scheme}`);
    const reads = new RawReads(openSync(path, constants.O_RDONLY | openDirectFlag(process.arch)), scheme);
    scheme.keepAlive(true);
    return reads;
  }

  /** At most 64 at a time. They're in the kernel when this returns. */
  read(view: Uint8Array, position: number): Promise<void> {
    const slot = this.#free.pop();
    assert.ok(slot !== undefined, "too many at a time");
    const address = addressOf(view);
    const location = {
      buffer: view,
      addressLow: address | 0,
      addressHigh: Math.floor(address / 2 ** 32),
      bytes: view.byteLength,
    } as unknown as BufferLocation;
    const begun = [READ, this.#scheme.attachFile(this.#fd), location, position] as const;
    this.#begun[slot] = begun;
    this.#scheme.prepare(slot, ...begun);
    const answer = new Promise<void>((resolve, reject) => {
      this.#ended[slot] = (result) => {
        this.#free.push(slot);
        if (result === view.byteLength) resolve();
        else reject(new Error(`a read of ${view.byteLength} bytes gave ${result}`));
      };
    });
    assert.equal(this.#scheme.enter(), 0);
    if (!this.#scheme.arm()) setImmediate(() => this.#reap());
    return answer;
  }

  #reap(): void {
    while (this.#scheme.reap(this, DEPTH) > 0);
    if (this.#free.length < DEPTH && !this.#scheme.arm()) setImmediate(() => this.#reap());
  }

  completed(slot: number, result: number): void {
    this.#ended[slot]!(result);
  }

  /** The kernel would have waited, for the page cache's part of the file to be written, say. */
  refused(slot: number): void {
    this.#scheme.prepareFallback(slot, ...this.#begun[slot]!);
  }

  released(): void {
    assert.fail("nothing was registered");
  }

  /** Once all have ended. */
  close(): void {
    this.#scheme.close();
    closeSync(this.#fd);
  }
}
