/**
 * The engine's side of the memory threads: maps arenas and passes operations on. Threads start with their first
 * operation, and end when idle.
 */

import { clearTimeout, setTimeout } from "node:timers";
import { isMainThread, Worker } from "node:worker_threads";
import { hasEnded, willLoad } from "../linux/ffi-startup.js";
import { fixedMemory } from "../linux/fixed-memory.js";
import { addressOf } from "../linux/libc-bindings.js";
import { explainNoCollapse, explainNoMigration, memoryNodes } from "../linux/page-migration-support.js";
import { availableBytes, hasSwap } from "../linux/probe.js";
import { startThread, threadError } from "../linux/start-thread.js";
import type { Memory, MemoryRequest, MemoryResult } from "../ports/memory.js";
import { ENOMEM } from "../protocol/errno.js";
import type { Mapping } from "../protocol/segment.js";
import { LaneScheduler, type Worker as Thread } from "./lanes.js";
import { inOne } from "./operation-pieces.js";

/** Data given to a thread at its start. */
export interface MemoryThreadData {
  /** Shared words for thread ids; the thread stores its own at index `at`. */
  readonly tids: Int32Array;
  readonly at: number;
  readonly loading: Int32Array;
}

/** Answer of a thread. */
export type MemoryAnswer = { readonly result: MemoryResult } | { readonly error: Error };

interface Pending {
  resolve(result: MemoryResult): void;
  reject(error: unknown): void;
}

/** Time after which an idle thread ends: it takes 9 MiB, and starting another takes some 40 ms. */
const IDLE_MS = 2000;

/**
 * Memory operations on threads of their own: in libuv's pool, four blocked reads would stop them all. The threads serve
 * all engines of this JavaScript thread; there is more than one only while operations of different kinds, or on files
 * of different devices, run at the same time.
 */
export class MemoryThreads implements Memory {
  readonly #lanes: LaneScheduler<MemoryRequest, MemoryResult>;
  readonly #explainLimit: (bytes: number) => string | null;

  /**
   * `tids` are shared words for the threads' ids; their number is the maximum number of threads. `explainLimit` returns
   * a sentence that says which limit of the process an allocation would exceed, or null.
   */
  constructor(tids: Int32Array, explainLimit: (bytes: number) => string | null) {
    this.#explainLimit = explainLimit;
    const used = new Set<number>();
    this.#lanes = new LaneScheduler(
      () => new MemoryWorker(tids, used, (request) => this.#refuse(request)),
      tids.length,
    );
  }

  map(bytes: number, shared = false): Mapping {
    const buffer = fixedMemory(bytes, shared);
    return { buffer, address: addressOf(buffer) };
  }

  run(request: MemoryRequest): Promise<MemoryResult> {
    return this.#lanes.run(laneOf(request), request);
  }

  /** Ends idle threads; resolves once they're gone. */
  end(): Promise<void> {
    return this.#lanes.end();
  }

  /**
   * Checks an allocation against memory limits again when its turn comes, because others may have allocated meanwhile.
   */
  #refuse({ operation, address, bytes }: MemoryRequest): MemoryResult | null {
    const reason = operation === "prepare" ? this.explainNoRoom(bytes) : null;
    return reason === null ? null : { ...inOne({ start: address, end: address + bytes }, -ENOMEM), reason };
  }

  explainNoRoom(bytes: number): string | null {
    const available = availableBytes();
    if (bytes <= available) return this.#explainLimit(bytes);
    return (
      `an arena of ${bytes} bytes doesn't fit: this machine has ${available} bytes of memory and swap left ` +
      "(MemAvailable and SwapFree in /proc/meminfo)"
    );
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
}

/**
 * Lane of a request, by what it may wait for: new memory for the kernel, pages for swap, files for their device; all
 * others don't wait.
 */
function laneOf({ operation, device }: MemoryRequest): string {
  switch (operation) {
    case "prepare":
      return "new memory";
    case "collapse":
    case "migrate":
      return "pages";
    case "pageOut":
      return device === undefined ? "pages" : `device ${device}`;
    case "lock":
      return `locks on ${device}`;
    case "extendFile":
    case "fallocate":
    case "copyRange":
    case "dataRanges":
    case "mapFile":
    case "writeback":
      return `device ${device}`;
    default:
      return "";
  }
}

const NAME = "pinless-memory";

class MemoryWorker implements Thread<MemoryRequest, MemoryResult> {
  /** The thread, or the error of starting it. */
  readonly #worker: Worker | Error;
  readonly #exit: Promise<void>;
  /** Clears the thread's id, which the kernel may give to another thread. */
  readonly #forget: () => void;
  readonly #refuse: (request: MemoryRequest) => MemoryResult | null;
  #pending: Pending | null = null;
  #ending: NodeJS.Timeout | null = null;
  alive = true;

  /** `refuse` returns an answer for a request that must not begin, otherwise null. */
  constructor(tids: Int32Array, used: Set<number>, refuse: (request: MemoryRequest) => MemoryResult | null) {
    this.#refuse = refuse;
    const at = tids.findIndex((_, i) => !used.has(i));
    used.add(at);
    this.#forget = () => {
      if (!this.alive) return;
      this.alive = false;
      Atomics.store(tids, at, 0);
      used.delete(at);
    };
    const loading = willLoad();
    const gone = (why: unknown): void => {
      hasEnded(loading);
      this.#forget();
      this.#take()?.reject(why);
    };
    try {
      const workerData: MemoryThreadData = { tids, at, loading };
      const worker = startThread(
        NAME,
        () =>
          new Worker(new URL("./memory-thread.js", import.meta.url), { name: NAME, workerData, execArgv: [], env: {} }),
      );
      this.#worker = worker;
      this.#exit = this.#follow(worker, gone);
    } catch (error) {
      gone(error);
      this.#worker = error as Error;
      this.#exit = Promise.resolve();
    }
  }

  #follow(worker: Worker, gone: (why: unknown) => void): Promise<void> {
    worker.unref();
    worker.on("message", (answer: MemoryAnswer) => {
      if ("error" in answer) this.#take()?.reject(answer.error);
      else this.#take()?.resolve(answer.result);
    });
    worker.on("error", (error) => gone(threadError(NAME, error)));
    return new Promise((resolve) =>
      worker.once("exit", (code) => {
        gone(new Error(`a memory thread ended with code ${code}`));
        resolve();
      }),
    );
  }

  run(request: MemoryRequest): Promise<MemoryResult> {
    const worker = this.#worker;
    if (worker instanceof Error) return Promise.reject(worker);
    const refused = this.#refuse(request);
    if (refused !== null) return Promise.resolve(refused);
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      worker.ref();
      worker.postMessage(request);
    });
  }

  idle(): void {
    // If a worker is terminated while a thread that it started loads the FFI, the process aborts. So in a worker,
    // threads stay until the last engine is closed.
    if (isMainThread) this.#ending = setTimeout(() => this.#end(), IDLE_MS).unref();
  }

  busy(): void {
    if (this.#ending !== null) clearTimeout(this.#ending);
    this.#ending = null;
  }

  end(): Promise<void> {
    this.busy();
    if (!(this.#worker instanceof Error)) this.#worker.ref();
    this.#end();
    return this.#exit;
  }

  #end(): void {
    this.#forget();
    if (!(this.#worker instanceof Error)) this.#worker.postMessage(null);
  }

  #take(): Pending | null {
    const pending = this.#pending;
    this.#pending = null;
    if (this.#worker !== undefined && !(this.#worker instanceof Error) && this.alive) this.#worker.unref();
    return pending;
  }
}
