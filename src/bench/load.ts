/** The load: random reads, always `IN_FLIGHT` of them on their way. */

import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { File } from "../index.js";
import { IN_FLIGHT, type Meter } from "./meter.js";

export interface Slice {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly cpuUs: number;
}

/** Keeps reads on their way until it's stopped. */
interface Reading {
  /** No new ones; resolves once the last has ended, rejects if one failed. */
  stop(): Promise<void>;
}

/** By the engine's hot path: one callback a slot, made once. */
export function readByEngine(file: File, buffers: readonly Uint8Array[], meter: Meter): Reading {
  let active = 0;
  let stopped = false;
  let failure: Error | null = null;
  let ended = (): void => {};
  const over = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const begin = (slot: number): void => {
    active++;
    const said = file.submit("read", buffers[slot]!, meter.next(slot), dones[slot]!);
    if (said === "busy") throw new Error("the ring had no room for a load that it was made for");
  };
  const done = (slot: number, errno: number, bytes: number): void => {
    active--;
    if (errno < 0 || bytes !== buffers[slot]!.byteLength) {
      failure ??= new Error(errno < 0 ? `a read failed with errno ${-errno}` : `a read came back with ${bytes} bytes`);
      stopped = true;
    }
    meter.ended(slot);
    if (!stopped) begin(slot);
    else if (active === 0) ended();
  };
  const dones = buffers.map((_, slot) => (errno: number, bytes: number) => done(slot, errno, bytes));
  for (let slot = 0; slot < IN_FLIGHT; slot++) begin(slot);
  return {
    async stop() {
      stopped = true;
      if (active > 0) await over;
      if (failure !== null) throw failure;
    },
  };
}

/** By FileHandle.read, as programs do it today. */
export function readByNode(handle: FileHandle, buffers: readonly Uint8Array[], meter: Meter): Reading {
  let stopped = false;
  const readOn = async (buffer: Uint8Array, slot: number): Promise<void> => {
    while (!stopped) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, meter.next(slot));
      if (bytesRead !== buffer.byteLength) throw new Error(`a read came back with ${bytesRead} bytes`);
      meter.ended(slot);
    }
  };
  const all = Promise.allSettled(buffers.map(readOn));
  return {
    async stop() {
      stopped = true;
      for (const result of await all) if (result.status === "rejected") throw result.reason;
    },
  };
}

/** Warms up, then measures for a while. */
export async function measure(reading: Reading, meter: Meter, warmMs: number, ms: number): Promise<Slice> {
  await sleep(warmMs);
  meter.reset();
  const cpu = process.cpuUsage();
  const began = performance.now();
  await sleep(ms);
  const requests = meter.completed;
  const elapsedMs = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  await reading.stop();
  return { requests, elapsedMs, cpuUs: user + system };
}
