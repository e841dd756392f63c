/**
 * The engine's side of the monitor: who it serves, on a thread that starts when something is followed or a lease is taken, ends when it's
 * at rest, and starts again where it ended by itself.
 */

import { isMainThread } from "node:worker_threads";
import { lack, lackOf } from "../linux/lacks.js";
import { SEMAPHORE_BYTES } from "../linux/libc.js";
import { loop } from "../linux/loop.js";
import { explainNoUserfaultfd } from "../linux/userfaultfd.js";
import type { Follower, MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { ChunkTable } from "../protocol/chunk-table.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import { HELD_SLOTS } from "../protocol/lease-table.js";
import type { MonitorClient } from "../protocol/monitor/clients.js";
import { without } from "../protocol/ranges/ranges.js";
import type { FollowMessage, ToMonitor } from "./monitor-messages.js";
import { MonitorWorker } from "./monitor-worker.js";

/** With nothing to do for so long it ends: 9 MiB. A new one takes some 40 ms. */
const IDLE_MS = 2000;
/** Restarted twice in so short a time is no help: the next comes later. */
const RESTART_MS = 1000;

/** Who is told of its end, and how that goes on. */
interface Client extends MonitorClient {
  /** The lease table that is looked after. */
  watched: (ToMonitor & { kind: "watch" }) | null;
  readonly followed: Map<ChunkTable, FollowMessage>;
}

/** There are more only where files of so many devices are waited for. */
const MEMORY_THREADS = 16;

/** Threads whose calls on memory are ours: they're never announced. Each writes its own number; 0: nobody's. */
export const ourTids = new Int32Array(new SharedArrayBuffer(4 * MEMORY_THREADS));

/** Raised by the monitor while it reads events, and by its end (linux/userfaultfd.ts). */
export const reading = new Int32Array(new SharedArrayBuffer(SEMAPHORE_BYTES));

class Monitor {
  #worker: MonitorWorker | null = null;
  readonly #clients = new Set<Client>();
  #restartedMs = Number.NEGATIVE_INFINITY;
  /** Resolves with "" once the thread that comes next follows all that the last one did, or with why it doesn't. */
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
      lost: () => ended((run) => void this.#again.then(run)),
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

  /** Throws where no thread can be started. */
  running(): MonitorWorker {
    if (this.#worker !== null) return this.#worker;
    const worker = new MonitorWorker({
      reading,
      ourTids,
      clients: this.#clients,
      ended: (why) => this.#endedByItself(worker, why),
    });
    this.#worker = worker;
    for (const { watched } of this.#clients) if (watched !== null) worker.send(watched);
    this.#restLater();
    // Who was followed by one that ended, and couldn't be since.
    if (!this.#following && this.#followed.length > 0) void this.#tryAgain(RESTART_MS);
    return worker;
  }

  watch(client: Client, watched: NonNullable<Client["watched"]>): void {
    client.watched = watched;
    this.#worker?.send(watched);
  }

  /** What stands in the way is said when something is asked of it. */
  prepare(): void {
    try {
      this.running();
    } catch {}
  }

  /** 0, or -errno. A thread that ends meanwhile is followed by another, once. */
  async ask(message: FollowMessage): Promise<number> {
    try {
      return await this.running().ask(message);
    } catch {
      return this.running().ask(message);
    }
  }

  /** Nothing is left to be done for it if there's no thread. */
  async unfollow(table: ChunkTable, id: number): Promise<void> {
    await this.#worker?.ask(unfollowing(table, id)).catch(() => {});
    this.#restLater();
  }

  /** A lease was taken while none was held. */
  wake(): void {
    // Without a thread, leases go by the engine's own clock.
    this.prepare();
    this.#worker?.send({ kind: "wake" });
    this.#restLater();
  }

  /** Resolves once nothing is left of the thread. */
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
    // What it was about to give back is given back here, before another looks at it.
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

  /** "", or why what was followed can't be. */
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

  /** Ever more rarely, until it works: then everybody hears of it as of an end, since nobody knows what has happened meanwhile. */
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
    for (const client of this.#clients) if (client.calls !== null) client.lost();
  }

  /**
   * Looks now and then whether there's something to do. Not in a worker: who terminates that while a thread below it loads the FFI ends the
   * whole process, so there it starts once and for all.
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

const monitor = new Monitor();
let nextId = 0;

function unfollowing(table: ChunkTable, id: number): ToMonitor & { readonly id: number } {
  return { kind: "unfollow", id, pieces: without(table.range, table.gone) };
}

/**
 * In a worker, resolves once the thread runs. Whoever terminates this JavaScript thread while another below it loads the FFI ends the
 * whole process: the add-on can't throw into a thread that is being terminated. Nobody terminates the main thread.
 */
export async function monitorStarted(): Promise<void> {
  if (!isMainThread && monitor.hasClients) await monitor.running().ready;
}

/** Resolves once nothing is left of the thread, if no engine needs it. */
export async function monitorEnded(): Promise<void> {
  if (!monitor.hasClients) await monitor.end();
}

/** A watchdog for the leases of one ring. */
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

/** Has what other code does to an engine's memory reported to it. */
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
      if (missing !== null) throw lack(missing, "what other code does to an arena's memory can't be followed");
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
