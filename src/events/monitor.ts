/**
 * The engine's side of the monitor thread: hands it what it follows, and does what it asks for. One thread serves all engines of this
 * JavaScript thread (about 9 MiB).
 */

import { isMainThread, Worker } from "node:worker_threads";
import type { ChunkTable } from "../core/chunk-table.js";
import type { ForeignCalls } from "../core/foreign-calls.js";
import { type MonitorClient, MonitorClients } from "../core/monitor-clients.js";
import type { Follower, Watchdog } from "../core/ports.js";
import { without } from "../core/ranges.js";
import { gettid, SEMAPHORE_BYTES } from "../linux/libc.js";
import { hasEnded, willLoad } from "../linux/loading.js";
import { explainNoUserfaultfd } from "../linux/userfaultfd.js";
import type { FromMonitor, MonitorData, ToMonitor } from "./messages.js";

/** Starts with the first engine that takes leases or follows other code. */
class MonitorThread {
  /** It has loaded what it needs, or has ended. */
  readonly ready: Promise<void>;
  readonly clients: MonitorClients;
  readonly #worker: Worker;
  readonly #answers = new Map<number, (errno: number) => void>();
  #ended = false;

  constructor(ourTids: Int32Array, ended: () => void) {
    const loading = willLoad();
    const drain = new Int32Array(new SharedArrayBuffer(4));
    this.clients = new MonitorClients(drain, reading, () => Atomics.notify(drain, 0));
    this.#worker = new Worker(new URL("./monitor-thread.js", import.meta.url), {
      name: "pinless-monitor",
      workerData: { loading, drain, reading, ownTid: gettid(), ourTids } satisfies MonitorData,
      execArgv: [],
      env: {},
    });
    this.ready = new Promise((resolve) => {
      const settle = (): void => {
        this.#rest();
        resolve();
      };
      this.#worker.once("message", settle);
      this.#worker.once("exit", settle);
    });
    this.#worker.on("message", (message: FromMonitor) => this.#obey(message));
    // It can die without harm: its userfaultfd is closed with it, which lets everybody go who waits; and before that all I/O is kept out,
    // until this thread has heard of it and announced everything.
    this.#worker.on("error", () => {});
    this.#worker.on("exit", () => {
      hasEnded(loading);
      this.#ended = true;
      ended();
      for (const answer of this.#answers.values()) answer(0);
      this.#answers.clear();
      this.clients.lost();
    });
  }

  send(message: ToMonitor): void {
    this.#worker.postMessage(message);
  }

  /** Sends what is answered by 0 or -errno; 0 also if the thread has ended. */
  ask(message: ToMonitor & { readonly id: number }): Promise<number> {
    if (this.#ended) return Promise.resolve(0);
    return new Promise((resolve) => {
      this.#worker.ref();
      this.#answers.set(message.id, resolve);
      this.send(message);
    });
  }

  #obey(message: FromMonitor): void {
    switch (message.kind) {
      case "ready":
        break;
      case "answer":
        this.#answers.get(message.id)?.(message.errno);
        this.#answers.delete(message.id);
        this.#rest();
        break;
      default:
        this.clients.obey(message);
    }
  }

  /** Keeps the process alive only for an answer that somebody waits for. */
  #rest(): void {
    if (this.#answers.size === 0) this.#worker.unref();
  }
}

let thread: MonitorThread | null = null;
let nextId = 0;

/** There are more only where files of so many devices are waited for. */
const MEMORY_THREADS = 16;

/** Threads whose calls on memory are ours: they're never announced. Each writes its own number; 0: nobody's. */
export const ourTids = new Int32Array(new SharedArrayBuffer(4 * MEMORY_THREADS));

/** Raised by the monitor while it reads events, and by its end (linux/userfaultfd.ts). */
export const reading = new Int32Array(new SharedArrayBuffer(SEMAPHORE_BYTES));

function monitor(): MonitorThread {
  thread ??= new MonitorThread(ourTids, () => {
    thread = null;
  });
  return thread;
}

/**
 * Resolves once the thread runs, if there is one. Whoever terminates this JavaScript thread while another below it loads the FFI ends the
 * whole process: the add-on can't throw into a thread that is being terminated. Nobody terminates the main thread.
 */
export async function monitorStarted(): Promise<void> {
  if (!isMainThread) await thread?.ready;
}

/** A watchdog for the leases of one ring. `lost` is called if the thread ends. */
export function openWatchdog(ringFd: number, lost: () => void): Watchdog {
  const mine = monitor();
  const id = nextId++;
  const client: MonitorClient = { calls: null, lost };
  mine.clients.add(client);
  return {
    id,
    watch: (leases) => mine.send({ kind: "watch", id, leases, ringFd }),
    wake: () => mine.send({ kind: "wake" }),
    close: () => {
      mine.clients.delete(client);
      mine.send({ kind: "unwatch", id });
    },
  };
}

/** Has what other code does to an engine's memory reported to it. `lost` is called if the thread ends. */
export function openFollower(calls: ForeignCalls, lost: () => void): Follower {
  const mine = monitor();
  const client: MonitorClient = { calls, lost };
  mine.clients.add(client);
  const ids = new Map<ChunkTable, number>();
  return {
    async follow(table, watchdog) {
      const id = nextId++;
      const { range, chunkBytes, words } = table;
      const errno = await mine.ask({ kind: "follow", id, range, chunkBytes, words, watched: watchdog?.id ?? -1 });
      if (errno < 0) return explainNoUserfaultfd(errno);
      ids.set(table, id);
      return "";
    },
    async unfollow(table) {
      const id = ids.get(table);
      if (id === undefined) return;
      ids.delete(table);
      await mine.ask({ kind: "unfollow", id, pieces: without(table.range, table.gone) });
    },
    close: () => void mine.clients.delete(client),
  };
}
