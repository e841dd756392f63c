/** The engine's side of the memory thread: maps arenas and hands operations over. The thread starts with the first operation. */

import { Worker } from "node:worker_threads";
import type { Mapping, Memory, MemoryRequest, MemoryResult } from "../core/ports.js";
import { fixedMemory } from "../linux/fixed-memory.js";
import { addressOf } from "../linux/libc.js";
import { hasEnded, willLoad } from "../linux/loading.js";
import { explainNoCollapse, explainNoMigration, memoryNodes } from "../linux/moving.js";
import { availableBytes, hasSwap } from "../linux/probe.js";

/** What the thread is given. */
export interface MemoryThreadData {
  /** Where it writes its number. */
  readonly tid: Int32Array;
  readonly loading: Int32Array;
}

interface Pending {
  resolve(result: MemoryResult): void;
  reject(error: Error): void;
}

/**
 * Not libuv's pool: four blocked reads there would stop every memory operation. One thread serves all engines of this JavaScript
 * thread (about 9 MiB).
 */
export class MemoryThread implements Memory {
  #worker: Worker | null = null;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  readonly #tid: Int32Array;

  /** `tid`: one shared word, where the thread notes its number. */
  constructor(tid: Int32Array) {
    this.#tid = tid;
  }

  map(bytes: number): Mapping {
    const buffer = fixedMemory(bytes);
    return { buffer, address: addressOf(buffer) };
  }

  run(request: MemoryRequest): Promise<MemoryResult> {
    const worker = this.#start();
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ id, request });
    });
  }

  availableBytes(): number {
    return availableBytes();
  }

  hasSwap(): boolean {
    return hasSwap();
  }

  explainNoCollapse(): string | null {
    return explainNoCollapse();
  }

  explainNoMigration(): string | null {
    return explainNoMigration();
  }

  nodes(): readonly number[] {
    return memoryNodes();
  }

  #start(): Worker {
    if (this.#worker !== null) return this.#worker;
    const loading = willLoad();
    const worker = new Worker(new URL("./memory-thread.js", import.meta.url), {
      name: "pinless-memory",
      workerData: { tid: this.#tid, loading } satisfies MemoryThreadData,
      execArgv: [],
      env: {},
    });
    worker.unref();
    worker.on("message", ({ id, result }: { id: number; result: MemoryResult }) => {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (this.#pending.size === 0) worker.unref();
      pending?.resolve(result);
    });
    const ended = (error: Error): void => {
      this.#worker = null;
      for (const pending of this.#pending.values()) pending.reject(error);
      this.#pending.clear();
    };
    worker.on("error", ended);
    worker.on("exit", (code) => {
      hasEnded(loading);
      ended(new Error(`the memory thread ended with code ${code}`));
    });
    this.#worker = worker;
    return worker;
  }
}
