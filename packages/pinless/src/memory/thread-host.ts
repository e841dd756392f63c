/** The engine's side of the memory threads: maps arenas and hands operations over. Threads start with what they're to do, and end when idle. */

import { clearTimeout, setTimeout } from "node:timers";
import { isMainThread, Worker } from "node:worker_threads";
import { ERRNO } from "../abi/numbers.js";
import { hasEnded, willLoad } from "../linux/ffi-startup.js";
import { fixedMemory } from "../linux/fixed-memory.js";
import { addressOf } from "../linux/libc.js";
import { explainNoCollapse, explainNoMigration, memoryNodes } from "../linux/page-migration-support.js";
import { availableBytes, hasSwap } from "../linux/probe.js";
import { startThread, threadError } from "../linux/start-thread.js";
import type { Memory, MemoryRequest, MemoryResult } from "../ports/memory.js";
import type { Mapping } from "../protocol/segment.js";
import { Lanes, type Worker as Thread } from "./lanes.js";
import { inOne } from "./operation-pieces.js";

/** What a thread is given. */
export interface MemoryThreadData {
  /** Its number goes into the word at `at`. */
  readonly tids: Int32Array;
  readonly at: number;
  readonly loading: Int32Array;
}

/** What it answers. */
export type MemoryAnswer = { readonly result: MemoryResult } | { readonly error: Error };

interface Pending {
  resolve(result: MemoryResult): void;
  reject(error: unknown): void;
}

/** A thread that has nothing to do for so long ends (9 MiB each; a new one takes some 40 ms). */
const IDLE_MS = 2000;

/**
 * Not libuv's pool: four blocked reads there would stop every memory operation. The threads serve all engines of this JavaScript thread;
 * there's more than one only while operations of different kinds, or on files of different devices, are under way.
 */
export class MemoryThread implements Memory {
  readonly #lanes: Lanes<MemoryRequest, MemoryResult>;
  readonly #explainLimit: (bytes: number) => string | null;

  /**
   * `tids`: shared words, where the threads note their numbers. There are as many threads at most. `explainLimit`: which limit of the
   * process so many bytes would go beyond, in one sentence; or null.
   */
  constructor(tids: Int32Array, explainLimit: (bytes: number) => string | null) {
    this.#explainLimit = explainLimit;
    const used = new Set<number>();
    this.#lanes = new Lanes(() => new MemoryWorker(tids, used, (request) => this.#refuse(request)), tids.length);
  }

  map(bytes: number): Mapping {
    const buffer = fixedMemory(bytes);
    return { buffer, address: addressOf(buffer) };
  }

  run(request: MemoryRequest): Promise<MemoryResult> {
    return this.#lanes.run(laneOf(request), request);
  }

  /** Ends the threads that have nothing to do; resolves once nothing is left of them. */
  end(): Promise<void> {
    return this.#lanes.end();
  }

  /** Looked at again when its turn comes: others may have taken the room meanwhile. */
  #refuse({ operation, address, bytes }: MemoryRequest): MemoryResult | null {
    const reason = operation === "prepare" ? this.explainNoRoom(bytes) : null;
    return reason === null ? null : { ...inOne({ start: address, end: address + bytes }, -ERRNO.ENOMEM), reason };
  }

  explainNoRoom(bytes: number): string | null {
    const available = availableBytes();
    if (bytes <= available) return this.#explainLimit(bytes);
    return `an arena of ${bytes} bytes: this machine has ${available} of memory and swap left (MemAvailable and SwapFree in /proc/meminfo)`;
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

/** What may have to wait for the same: new memory for the kernel to find it, pages for swap, files for their devices; the rest for nothing. */
function laneOf({ operation, device }: MemoryRequest): string {
  switch (operation) {
    case "prepare":
      return "new memory";
    case "collapse":
    case "migrate":
      return "pages";
    case "pageOut":
      return device === undefined ? "pages" : `device ${device}`;
    case "extendFile":
    case "mapFile":
    case "writeback":
      return `device ${device}`;
    default:
      return "";
  }
}

const NAME = "pinless-memory";

class MemoryWorker implements Thread<MemoryRequest, MemoryResult> {
  /** Or why it couldn't be started. */
  readonly #worker: Worker | Error;
  readonly #exit: Promise<void>;
  /** Forgets the thread's number, which may be another's from then on. */
  readonly #forget: () => void;
  readonly #refuse: (request: MemoryRequest) => MemoryResult | null;
  #pending: Pending | null = null;
  #ending: NodeJS.Timeout | null = null;
  alive = true;

  /** `refuse`: the answer to a request that isn't to be begun; null: it is. */
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

  rest(resting: boolean): void {
    if (this.#ending !== null) clearTimeout(this.#ending);
    // Whoever terminates a worker while a thread below it loads the FFI ends the process: there they stay until the last engine is closed.
    this.#ending = resting && isMainThread ? setTimeout(() => this.#end(), IDLE_MS).unref() : null;
  }

  end(): Promise<void> {
    this.rest(false);
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
