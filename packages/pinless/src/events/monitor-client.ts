/**
 * The engine's side of the monitor: manages the thread and its clients. The thread starts when memory is followed or a
 * lease is taken, ends when idle, and is restarted if it ends by itself.
 */

import { isMainThread } from "node:worker_threads";
import { lack, lackOf } from "../linux/lacks.js";
import { loop } from "../linux/loop.js";
import { SEMAPHORE_BYTES } from "../linux/teardown.js";
import { explainNoUserfaultfd } from "../linux/userfaultfd.js";
import type { Follower, MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { ChunkTable } from "../protocol/chunk-table.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import { HELD_SLOTS } from "../protocol/lease-table.js";
import type { MonitorClient } from "../protocol/monitor/clients.js";
import { without } from "../protocol/ranges/ranges.js";
import type { FollowMessage, ToMonitor } from "./monitor-messages.js";
import { MonitorWorker } from "./monitor-worker.js";

/** Time after which the idle thread ends: it takes 9 MiB, and starting another takes some 40 ms. */
const IDLE_MS = 2000;
/** Minimum time between two restarts, since a thread that fails at once would fail again. */
const RESTART_MS = 1000;

/** A client, with what was asked for it, so that a new thread can continue. */
interface Client extends MonitorClient {
  /** Called when it is followed again after a gap, in which anything may have been missed. */
  missed(): void;
  /** The message that had its lease table watched. */
  watched: (ToMonitor & { kind: "watch" }) | null;
  readonly followed: Map<ChunkTable, FollowMessage>;
}

/** Maximum number of memory threads; many are used only for files on many devices. */
const MEMORY_THREADS = 16;

/**
 * Thread ids of our own memory threads, whose calls are never announced. Each thread writes its own; 0 means a free
 * entry.
 */
export const ourTids = new Int32Array(new SharedArrayBuffer(4 * MEMORY_THREADS));

/**
 * Word by which the thread of the engines reports how a start stands. One for all monitors, one after the other
 * (protocol/monitor/messages.ts).
 */
const drain = new Int32Array(new SharedArrayBuffer(4));

/** Raised by the monitor while it reads events, and when it ends (linux/userfaultfd.ts). */
export const reading = new Int32Array(new SharedArrayBuffer(SEMAPHORE_BYTES));

class MonitorSupervisor {
  #worker: MonitorWorker | null = null;
  readonly #clients = new Set<Client>();
  #restartedMs = Number.NEGATIVE_INFINITY;
  /** Resolves once the next thread follows all that the last one did: to "", or to the reason why it doesn't. */
  #again: Promise<string> = Promise.resolve("");
  #stopTimer: (() => void) | null = null;
  #stopTrying: (() => void) | null = null;
  #following = false;

  get hasClients(): boolean {
    return this.#clients.size > 0;
  }

  add(ended: MonitorEnded, calls: ForeignCalls | null): Client {
    const client: Client = {
      calls,
      watched: null,
      followed: new Map(),
      lost: () => ended((run) => void this.#again.then(run), false),
      missed: () => ended((run) => void this.#again.then(run), true),
    };
    this.#clients.add(client);
    this.#worker?.clients.add(client);
    return client;
  }

  delete(client: Client): void {
    this.#clients.delete(client);
    this.#worker?.clients.delete(client);
    if (client.watched !== null) this.#worker?.send({ kind: "unwatch", id: client.watched.id });
    for (const [table, { id }] of client.followed) this.#worker?.send(unfollowing(table, id));
  }

  /** Starts the thread if it isn't running. Throws if it can't be started. */
  running(): MonitorWorker {
    if (this.#worker !== null) return this.#worker;
    const worker = new MonitorWorker({
      drain,
      reading,
      ourTids,
      clients: this.#clients,
      ended: (why) => this.#endedByItself(worker, why),
    });
    this.#worker = worker;
    for (const { watched } of this.#clients) if (watched !== null) worker.send(watched);
    this.#restLater();
    // Followed segments whose monitor ended, and that couldn't be followed again since.
    if (!this.#following && this.#followed.length > 0) void this.#tryAgain(RESTART_MS);
    return worker;
  }

  watch(client: Client, watched: NonNullable<Client["watched"]>): void {
    client.watched = watched;
    this.#worker?.send(watched);
  }

  /** Starts the thread in advance; an error is reported by the next request. */
  prepare(): void {
    try {
      this.running();
    } catch {}
  }

  /** Sends a request; resolves to 0 or -errno. If the thread ends meanwhile, it's sent once more to its successor. */
  async ask(message: FollowMessage): Promise<number> {
    try {
      return await this.running().ask(message);
    } catch {
      return this.running().ask(message);
    }
  }

  /** Stops following a segment; without a thread there's nothing to stop. */
  async unfollow(table: ChunkTable, id: number): Promise<void> {
    await this.#worker?.ask(unfollowing(table, id)).catch(() => {});
    this.#restLater();
  }

  /** Called when the first lease is taken. */
  wake(): void {
    // Without the thread, leases end by the engine's own clock.
    this.prepare();
    this.#worker?.send({ kind: "wake" });
    this.#restLater();
  }

  /** Ends the thread; resolves once it's gone. */
  async end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    this.#stopTimer?.();
    await worker?.end();
  }

  #endedByItself(worker: MonitorWorker, why: Error): void {
    if (this.#worker === worker) this.#worker = null;
    let settle = (_why: string): void => {};
    this.#again = new Promise((resolve) => {
      settle = resolve;
    });
    // Leases that it was about to give back are given back here, before another thread looks at them.
    worker.clients.lost();
    if (loop.preciseMs() - this.#restartedMs < RESTART_MS) {
      settle(why.message);
      this.#tryLater(RESTART_MS);
      return;
    }
    this.#restartedMs = loop.preciseMs();
    void this.#followAll().then((failure) => {
      settle(failure);
      if (failure !== "") this.#tryLater(RESTART_MS);
    });
  }

  /** Follows all segments again; resolves to "", or to the reason why that failed. */
  async #followAll(): Promise<string> {
    const all = this.#followed;
    this.#following = true;
    try {
      const worker = all.length > 0 ? this.running() : null;
      const answers = await Promise.all(all.map((message) => worker!.ask(message)));
      const errno = Math.min(0, ...answers);
      return errno === 0 ? "" : explainNoUserfaultfd(errno);
    } catch (error) {
      return (error as Error).message;
    } finally {
      this.#following = false;
    }
  }

  get #followed(): readonly FollowMessage[] {
    return [...this.#clients].flatMap(({ followed }) => [...followed.values()]);
  }

  /**
   * Retries at growing intervals. On success all clients are told that a monitor ended, because changes may have been
   * missed meanwhile.
   */
  #tryLater(ms: number): void {
    this.#stopTrying?.();
    const stop = loop.every(ms, () => {
      this.#stopTrying?.();
      if (this.hasClients) void this.#tryAgain(ms);
    });
    this.#stopTrying = () => {
      stop();
      this.#stopTrying = null;
    };
  }

  async #tryAgain(ms: number): Promise<void> {
    if ((await this.#followAll()) !== "") {
      this.#tryLater(2 * ms);
      return;
    }
    this.#again = Promise.resolve("");
    for (const client of this.#clients) if (client.calls !== null) client.missed();
  }

  /**
   * Checks periodically if the thread has become idle. In a worker the thread stays, because terminating the worker
   * while a thread that it started loads the FFI aborts the process.
   */
  #restLater(): void {
    if (this.#stopTimer !== null || !isMainThread) return;
    const stop = loop.every(IDLE_MS, () => {
      const busy = [...this.#clients].some(
        ({ followed, watched }) =>
          followed.size > 0 || (watched !== null && Atomics.load(watched.leases, HELD_SLOTS) > 0),
      );
      if (!busy) void this.end();
    });
    this.#stopTimer = () => {
      stop();
      this.#stopTimer = null;
    };
  }
}

const monitor = new MonitorSupervisor();
let nextId = 0;

function unfollowing(table: ChunkTable, id: number): ToMonitor & { readonly id: number } {
  return { kind: "unfollow", id, pieces: without(table.range, table.gone) };
}

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

/** Opens the watchdog for the leases of one ring. */
export function openWatchdog(ringFd: number, ended: MonitorEnded): Watchdog {
  const client = monitor.add(ended, null);
  const id = nextId++;
  return {
    id,
    watch: (leases) => monitor.watch(client, { kind: "watch", id, leases, ringFd }),
    wake: () => monitor.wake(),
    close: () => monitor.delete(client),
  };
}

/** Opens the follower that reports other code's memory calls to an engine. */
export function openFollower(calls: ForeignCalls, ended: MonitorEnded): Follower {
  const client = monitor.add(ended, calls);
  return {
    prepare: () => monitor.prepare(),
    async follow(table, watchdog) {
      const { range, chunkBytes, words } = table;
      const message: FollowMessage = {
        kind: "follow",
        id: nextId++,
        range,
        chunkBytes,
        words,
        watched: watchdog?.id ?? -1,
      };
      const errno = await monitor.ask(message);
      const missing = errno < 0 ? lackOf({ errno }) : null;
      if (missing !== null) throw lack(missing, "memory calls of other code can't be followed");
      if (errno < 0) return explainNoUserfaultfd(errno);
      client.followed.set(table, message);
      return "";
    },
    async unfollow(table) {
      const message = client.followed.get(table);
      if (message === undefined) return;
      client.followed.delete(table);
      await monitor.unfollow(table, message.id);
    },
    close: () => monitor.delete(client),
  };
}
