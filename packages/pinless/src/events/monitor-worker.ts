/**
 * A monitor thread (about 9 MiB) from its start to its end, as the engine's thread sees it. It serves all engines of
 * this JavaScript thread.
 */

import { Worker } from "node:worker_threads";
import { hasEnded, willLoad } from "../linux/ffi-startup.js";
import { gettid } from "../linux/libc.js";
import { startThread, threadError } from "../linux/start-thread.js";
import { type MonitorClient, MonitorClients } from "../protocol/monitor/clients.js";
import type { FromMonitor, MonitorData, ToMonitor } from "./monitor-messages.js";

const NAME = "pinless-monitor";

interface Asked {
  resolve(errno: number): void;
  reject(why: Error): void;
}

export interface MonitorWorkerParts {
  readonly drain: Int32Array;
  readonly reading: Int32Array;
  readonly ourTids: Int32Array;
  /** Clients of the previous thread, which this one takes over. */
  readonly clients: Iterable<MonitorClient>;
  /** Called if the thread ends without a call of `end`. */
  ended(why: Error): void;
}

export class MonitorWorker {
  /** Resolves once it has loaded the FFI, or has ended. */
  readonly ready: Promise<void>;
  readonly clients: MonitorClients;
  readonly #worker: Worker;
  readonly #exit: Promise<void>;
  readonly #asked = new Map<number, Asked>();
  #error: Error | null = null;
  /** Reason of its end; null while it runs. */
  #ended: Error | null = null;
  #isToEnd = false;

  /** Starts the thread. Throws if it can't be started. */
  constructor({ drain, reading, ourTids, clients, ended }: MonitorWorkerParts) {
    const loading = willLoad();
    this.clients = new MonitorClients(drain, reading, () => Atomics.notify(drain, 0));
    for (const client of clients) this.clients.add(client);
    const workerData: MonitorData = { loading, drain, reading, ownTid: gettid(), ourTids };
    try {
      this.#worker = startThread(
        NAME,
        () =>
          new Worker(new URL("./monitor-thread.js", import.meta.url), {
            name: NAME,
            workerData,
            execArgv: [],
            env: {},
          }),
      );
    } catch (error) {
      hasEnded(loading);
      throw error;
    }
    this.ready = new Promise((resolve) => {
      const settle = (): void => {
        this.#rest();
        resolve();
      };
      this.#worker.once("message", settle);
      this.#worker.once("exit", settle);
    });
    this.#worker.on("message", (message: FromMonitor) => this.#obey(message));
    // An error that ends the thread does no harm. Its end closes the userfaultfd, which lets all waiting callers go;
    // but before that the reading word is raised, so all I/O is stopped until this thread has announced every chunk.
    this.#worker.on("error", (error) => {
      this.#error = threadError(NAME, error);
    });
    this.#exit = new Promise((resolve) =>
      this.#worker.once("exit", (code) => {
        hasEnded(loading);
        const why = this.#error ?? new Error(`the monitor thread ended with code ${code}`);
        this.#ended = why;
        for (const asked of this.#asked.values()) asked.reject(why);
        this.#asked.clear();
        resolve();
        if (!this.#isToEnd) ended(why);
      }),
    );
  }

  send(message: ToMonitor): void {
    if (this.#ended === null) this.#worker.postMessage(message);
  }

  /** Sends a request; resolves to 0 or -errno, and rejects if the thread ends first. */
  ask(message: ToMonitor & { readonly id: number }): Promise<number> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#worker.ref();
      this.#asked.set(message.id, { resolve, reject });
      this.send(message);
    });
  }

  /** Ends the thread once nothing is followed any more; resolves once it's gone. */
  end(): Promise<void> {
    this.#isToEnd = true;
    this.#worker.ref();
    this.send({ kind: "end" });
    return this.#exit;
  }

  #obey(message: FromMonitor): void {
    switch (message.kind) {
      case "ready":
        break;
      case "answer":
        this.#asked.get(message.id)?.resolve(message.errno);
        this.#asked.delete(message.id);
        this.#rest();
        break;
      default:
        this.clients.obey(message);
    }
  }

  /** Keeps the process alive only while an answer is awaited, or the thread is being ended. */
  #rest(): void {
    if (this.#asked.size === 0 && !this.#isToEnd) this.#worker.unref();
  }
}
