/** The monitor of this JavaScript thread: its supervisor, with the words that it shares with the thread. */

import { isMainThread } from "node:worker_threads";
import { lack, lackOf } from "../linux/lacks.js";
import { loop } from "../linux/loop.js";
import { SEMAPHORE_BYTES } from "../linux/teardown.js";
import { explainNoUserfaultfd } from "../linux/userfaultfd.js";
import type { Follower, MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import { MonitorSupervisor } from "./monitor-supervisor.js";
import { MonitorWorker } from "./monitor-worker.js";

/** Maximum number of memory threads; many are used only for files on many devices. */
const MEMORY_THREADS = 16;

/**
 * Thread ids of our own memory threads, whose calls are never announced. Each thread writes its own; 0 means a free
 * entry.
 */
export const ourTids = new Int32Array(new SharedArrayBuffer(4 * MEMORY_THREADS));

/** Drain word, shared by all monitors of this thread, one after the other (protocol/monitor/messages.ts). */
const drain = new Int32Array(new SharedArrayBuffer(4));

/** Raised by the monitor while it reads events, and when it ends (linux/userfaultfd.ts). */
export const reading = new Int32Array(new SharedArrayBuffer(SEMAPHORE_BYTES));

const monitor = new MonitorSupervisor<MonitorWorker>({
  start: (clients, ended) => new MonitorWorker({ drain, reading, ourTids, clients, ended }),
  loop,
  // In a worker the thread stays, because terminating the worker while a thread that it started loads the FFI aborts
  // the process.
  endsIdle: isMainThread,
  explain: explainNoUserfaultfd,
  throwIfLack(errno) {
    const missing = lackOf({ errno });
    if (missing !== null) throw lack(missing, "memory calls of other code can't be followed");
  },
});

/**
 * In a worker, resolves once the thread is running. Terminating the worker while a thread that it started loads the FFI
 * would abort the process, because the add-on can't throw into a thread that is being terminated. The main thread is
 * never terminated.
 */
export async function monitorStarted(): Promise<void> {
  if (!isMainThread && monitor.hasClients) await monitor.running().ready;
}

/** Ends the thread if no engine needs it; resolves once it's gone. */
export async function monitorEnded(): Promise<void> {
  if (!monitor.hasClients) await monitor.end();
}

export const openWatchdog = (ringFd: number, ended: MonitorEnded): Watchdog => monitor.openWatchdog(ringFd, ended);
export const openFollower = (calls: ForeignCalls, ended: MonitorEnded): Follower => monitor.openFollower(calls, ended);
