/**
 * The engine's side of the monitor thread, which gives leases back when the engine's own thread is too busy to. One thread serves all
 * engines of this JavaScript thread (about 9 MiB); it sleeps while no lease is live.
 */

import { isMainThread, Worker } from "node:worker_threads";
import type { Watchdog } from "../core/ports.js";

/** What the engine tells the monitor. */
export type MonitorMessage =
  | { readonly kind: "watch"; readonly id: number; readonly leases: Int32Array; readonly ringFd: number }
  | { readonly kind: "unwatch"; readonly id: number };

/** Starts with the first engine that takes leases. */
class MonitorThread {
  /** It has loaded what it needs, or has ended. */
  readonly ready: Promise<void>;
  readonly #bell = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;

  constructor(ended: () => void) {
    this.#worker = new Worker(new URL("./monitor-thread.js", import.meta.url), {
      name: "pinless-monitor",
      workerData: this.#bell,
      execArgv: [],
      env: {},
    });
    this.ready = new Promise((resolve) => {
      const settle = (): void => {
        this.#worker.unref();
        resolve();
      };
      this.#worker.once("message", settle);
      this.#worker.once("exit", settle);
    });
    this.#worker.on("exit", ended);
    // It can die without harm: leases go by the engine's own clock then.
    this.#worker.on("error", ended);
  }

  send(message: MonitorMessage): void {
    this.#worker.postMessage(message);
    this.ring();
  }

  ring(): void {
    Atomics.add(this.#bell, 0, 1);
    Atomics.notify(this.#bell, 0);
  }
}

let thread: MonitorThread | null = null;
let nextId = 0;

/**
 * Resolves once the thread runs, if there is one. Whoever terminates this JavaScript thread while another below it loads the FFI ends the
 * whole process: the add-on can't throw into a thread that is being terminated. Nobody terminates the main thread.
 */
export async function monitorStarted(): Promise<void> {
  if (!isMainThread) await thread?.ready;
}

/** A watchdog for the leases of one ring. `lost` is called if the thread ends. */
export function openWatchdog(ringFd: number, lost: () => void): Watchdog {
  thread ??= new MonitorThread(() => {
    thread = null;
    lost();
  });
  const mine = thread;
  const id = nextId++;
  return {
    watch: (leases) => mine.send({ kind: "watch", id, leases, ringFd }),
    wake: () => mine.ring(),
    close: () => mine.send({ kind: "unwatch", id }),
  };
}
