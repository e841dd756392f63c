/** The load: random reads, `IN_FLIGHT` of them at a time. */

import type { FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Engine, File } from "pinless";
import { IN_FLIGHT, type Meter } from "./meter.js";

export interface Slice {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly cpuUs: number;
}

/** Reads that go on until they're stopped. */
export interface Reading {
  /** Starts no more reads; resolves once the last has ended, and rejects if one failed. */
  stop(): Promise<void>;
}

/**
 * Reads by the engine's hot path, with one callback a slot, created once. A read that finds no room waits for it (the
 * direct scheme has few threads).
 */
export function readByEngine(engine: Engine, file: File, buffers: readonly Uint8Array[], meter: Meter): Reading {
  let active = 0;
  let stopped = false;
  let failure: Error | null = null;
  const waiting: number[] = [];
  let ended = (): void => {};
  const over = new Promise<void>((resolve) => {
    ended = resolve;
  });
  const submit = (slot: number): boolean =>
    file.submit("read", buffers[slot]!, meter.positionOf(slot), dones[slot]!) !== "busy";
  const wait = (): void => {
    void engine.drained().then(() => {
      while (waiting.length > 0) {
        if (stopped) leave();
        else if (!submit(waiting[0]!)) return wait();
        waiting.shift();
      }
    });
  };
  const begin = (slot: number): void => {
    active++;
    meter.next(slot);
    // Slots that wait already come first.
    if (waiting.length === 0 && submit(slot)) return;
    if (waiting.push(slot) === 1) wait();
  };
  const leave = (): void => {
    if (--active === 0) ended();
  };
  const done = (slot: number, errno: number, bytes: number): void => {
    if (errno < 0 || bytes !== buffers[slot]!.byteLength) {
      failure ??= new Error(errno < 0 ? `a read failed with errno ${-errno}` : `a read came back with ${bytes} bytes`);
      stopped = true;
    }
    meter.ended(slot);
    if (stopped) leave();
    else {
      active--;
      begin(slot);
    }
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

/** Reads by FileHandle.read, as programs do today. */
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
