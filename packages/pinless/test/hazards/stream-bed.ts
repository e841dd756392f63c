/** Pipes whose other end the test holds, and bytes that both ends can compute. */

import assert from "node:assert/strict";
import { closeSync, constants, openSync, readSync } from "node:fs";
import type { TestContext } from "node:test";
import koffi from "koffi";
import { type Arena, Engine, type EngineOptions } from "../../dist/index.js";
import { namedPipe, undoing } from "../support/undo.js";

export const MIB = 1 << 20;
const { O_RDWR, O_NONBLOCK } = constants;
const FIONREAD = 0x541b;
const ioctl = koffi.load(null).func("int ioctl(int fd, unsigned long request, _Out_ int *value)");

/** The limit of tests whose calls would wait for ever if they failed. */
export const timeout = 180_000;

/** Bytes of a stream, which both ends can compute: no byte is 0, and no two stretches are alike. */
export function streamBytes(offset: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) bytes[i] = 1 + ((Math.imul((offset + i) ^ 0x2545f491, 0x9e3779b1) >>> 16) % 255);
  return bytes;
}

/** The other end of a pipe that a file of ours is on. */
export interface Pipe {
  readonly path: string;
  readonly fd: number;
}

export function pipe(t: TestContext): Pipe {
  const path = namedPipe(t);
  const fd = openSync(path, O_RDWR | O_NONBLOCK);
  undoing(t, () => closeSync(fd));
  return { path, fd };
}

export function waitingIn({ fd }: Pipe): number {
  const count = [0];
  assert.equal(ioctl(fd, FIONREAD, count), 0);
  return count[0]!;
}

/** Reads all bytes that are there now. */
export function drain(fd: number): Buffer {
  const buffer = Buffer.alloc(1 << 20);
  try {
    return buffer.subarray(0, readSync(fd, buffer));
  } catch (error) {
    assert.equal((error as { code: string }).code, "EAGAIN");
    return buffer.subarray(0, 0);
  }
}

export async function open(t: TestContext, options: EngineOptions): Promise<{ engine: Engine; arena: Arena }> {
  const engine = await Engine.open({ lease: { idle: 3_600_000, max: 3_600_000 }, ...options });
  undoing(t, () => engine.close());
  return { engine, arena: await engine.arena({ bytes: 4 * MIB }) };
}

/** The outcome of a read so far: a test can look at it without waiting for a read that may never end. */
export function watch(read: Promise<{ bytesRead: number }>): { ended: string | number | null } {
  const watched: { ended: string | number | null } = { ended: null };
  read.then(
    ({ bytesRead }) => {
      watched.ended = bytesRead;
    },
    ({ code }) => {
      watched.ended = code;
    },
  );
  return watched;
}
