/** A monitor thread as the engine's sees it, from its start to its end. It serves all engines of this JavaScript thread (about 9 MiB). */

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
  readonly reading: Int32Array;
  readonly ourTids: Int32Array;
  /** Clients of before: they're served by this one. */
  readonly clients: Iterable<MonitorClient>;
  /** It has ended, and nobody has asked it to. */
  ended(why: Error): void;
}

export class MonitorWorker {
  /** It has loaded what it needs, or has ended. */
  readonly ready: Promise<void>;
  readonly clients: MonitorClients;
  readonly #worker: Worker;
  readonly #exit: Promise<void>;
  readonly #asked = new Map<number, Asked>();
  #error: Error | null = null;
  /** Null: it runs. */
  #ended: Error | null = null;
  #isToEnd = false;

  /** Throws where no thread can be started. */
  constructor({ reading, ourTids, clients, ended }: MonitorWorkerParts) {
    const loading = willLoad();
    const drain = new Int32Array(new SharedArrayBuffer(4));
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
    // It can die without harm: its userfaultfd is closed with it, which lets everybody go who waits; and before that all I/O is kept out,
    // until this thread has heard of it and announced everything.
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

  /** Sends what is answered by 0 or -errno; rejects where it ends before that. */
  ask(message: ToMonitor & { readonly id: number }): Promise<number> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#worker.ref();
      this.#asked.set(message.id, { resolve, reject });
      this.send(message);
    });
  }

  /** Resolves once nothing is left of it. Nobody's memory is followed any more. */
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

  /** Keeps the process alive only for an answer that somebody waits for, and until it has ended where it's to. */
  #rest(): void {
    if (this.#asked.size === 0 && !this.#isToEnd) this.#worker.unref();
  }
}
