/** Transfers with flags (RWF_…), which node:fs doesn't take: preadv2(2) and pwritev2(2) on libuv's thread pool. */

import { IOVEC } from "../abi/layouts.js";
import { type Direction, WRITE } from "../protocol/direction.js";
import { transferLater } from "./libc.js";
import { addressOf } from "./libc-bindings.js";

/** Calls in flight. More would only wait for the pool's threads, and koffi takes 256 at the most. */
const MOST = 64;

let inFlight = 0;
const waiting: (() => void)[] = [];

/**
 * Makes one call. `position` null or below 0 means the open description's own. `done` gets a byte count or a
 * negative errno.
 */
export function transferWithFlags(
  direction: Direction,
  fd: number,
  views: readonly ArrayBufferView[],
  position: number | bigint | null,
  flags: number,
  done: (result: number) => void,
): void {
  const start = (): void => {
    inFlight++;
    const vector = new BigUint64Array(new ArrayBuffer(views.length * IOVEC.size));
    views.forEach(({ buffer, byteOffset, byteLength }, i) => {
      const at = (i * IOVEC.size) / 8;
      vector[at + IOVEC.fields.iov_base / 8] = BigInt(addressOf(buffer) + byteOffset);
      vector[at + IOVEC.fields.iov_len / 8] = BigInt(byteLength);
    });
    const call = { writes: direction === WRITE, fd, count: views.length, position: position ?? -1, flags };
    transferLater(addressOf(vector.buffer), call, (result) => {
      inFlight--;
      waiting.shift()?.();
      // The kernel has used the memory until now; the last argument keeps it from being collected before.
      keep(vector, views);
      done(result);
    });
  };
  if (inFlight < MOST) start();
  else waiting.push(start);
}

/** Does nothing with memory but to need it. */
function keep(..._memory: readonly unknown[]): void {}
