/**
 * The supervisor of the monitor: manages its thread and its clients, the same on Linux and in virtual time. The thread
 * starts when memory is followed or a lease is taken, ends when idle, and is restarted if it ends by itself.
 */

import type { Follower, MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { ChunkTable } from "../protocol/chunk-table.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import { HELD_SLOTS } from "../protocol/lease-table.js";
import type { MonitorClient, MonitorClients } from "../protocol/monitor/clients.js";
import { without } from "../protocol/ranges/ranges.js";
import type { Loop } from "../protocol/scheme.js";
import type { FollowMessage, ToMonitor, UnfollowMessage } from "./monitor-messages.js";

/** Time after which the idle thread ends: it takes 9 MiB, and starting another takes some 40 ms. */
const IDLE_MS = 2000;
/** Minimum time between two restarts, since a thread that fails at once would fail again. */
const RESTART_MS = 1000;

/** A client with the messages sent for it, so that a new thread can be given the same. */
interface Client extends MonitorClient {
  /** Called when its memory is followed again after a gap, in which memory calls may have been missed. */
  missed(): void;
  /** The message that asked for its lease table to be watched; null if there is none. */
  watched: (ToMonitor & { kind: "watch" }) | null;
  readonly followed: Map<ChunkTable, FollowMessage>;
}

/** A thread of the monitor. */
export interface MonitorPort {
  readonly clients: MonitorClients;
  send(message: ToMonitor): void;
  /** Sends a request; resolves to 0 or -errno, and rejects if the thread ends first. */
  ask(message: FollowMessage | UnfollowMessage): Promise<number>;
  /** Ends the thread; resolves once it's gone. */
  end?(): Promise<void>;
}

export interface SupervisorParts<W extends MonitorPort> {
  /** Starts a thread that takes over these clients; `ended` is called if it ends by itself. Throws if it can't. */
  start(clients: Iterable<MonitorClient>, ended: (why: Error) => void): W;
  readonly loop: Pick<Loop, "preciseMs" | "every">;
  /** True if an idle thread is ended. */
  readonly endsIdle: boolean;
  /** The reason why a segment can't be followed, in a sentence. */
  explain(errno: number): string;
  /** Throws if the errno means a shortage that may pass, of descriptors for instance. */
  throwIfLack?(errno: number): void;
}

export class MonitorSupervisor<W extends MonitorPort> {
  readonly #parts: SupervisorParts<W>;
  #worker: W | null = null;
  readonly #clients = new Set<Client>();
  #restartedMs = Number.NEGATIVE_INFINITY;
  /** Resolves once the restarted thread follows all segments again: to "", or to the reason why it can't. */
  #again: Promise<string> = Promise.resolve("");
  #stopTimer: (() => void) | null = null;
  #stopTrying: (() => void) | null = null;
  #following = false;
  /** Number of segments whose first answer is awaited. */
  #asking = 0;
  /** Resolves once all threads that were to end are gone. */
  #gone: Promise<void> = Promise.resolve();
  #nextId = 0;

  constructor(parts: SupervisorParts<W>) {
    this.#parts = parts;
  }

  get hasClients(): boolean {
    return this.#clients.size > 0;
  }

  #add(ended: MonitorEnded, calls: ForeignCalls | null): Client {
    const client: Client = {
      calls,
      watched: null,
      followed: new Map(),
      lost: () => ended((run) => void this.#again.then(run), "ended"),
      missed: () => ended((run) => void this.#again.then(run), "missed"),
    };
    this.#clients.add(client);
    this.#worker?.clients.add(client);
    return client;
  }

  #delete(client: Client): void {
    this.#clients.delete(client);
    this.#worker?.clients.delete(client);
    if (client.watched !== null) this.#worker?.send({ kind: "unwatch", id: client.watched.id });
    for (const [table, { id }] of client.followed) this.#worker?.send(unfollowing(table, id));
  }

  /** Starts the thread if it isn't running. Throws if it can't be started. */
  running(): W {
    if (this.#worker !== null) return this.#worker;
    const worker: W = this.#parts.start(this.#clients, (why) => this.#endedByItself(worker, why));
    this.#worker = worker;
    for (const { watched } of this.#clients) if (watched !== null) worker.send(watched);
    this.#restLater();
    // The last thread ended by itself, and its segments couldn't be followed again since.
    if (!this.#following && this.#followed.length > 0) void this.#tryAgain(RESTART_MS);
    return worker;
  }

  #watch(client: Client, watched: NonNullable<Client["watched"]>): void {
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
  async #ask(message: FollowMessage): Promise<number> {
    this.#asking++;
    try {
      return await this.running().ask(message);
    } catch {
      return await this.running().ask(message);
    } finally {
      this.#asking--;
    }
  }

  /** Stops following a segment; without a thread there's nothing to stop. */
  async #unfollow(table: ChunkTable, id: number): Promise<void> {
    await this.#worker?.ask(unfollowing(table, id)).catch(() => {});
    this.#restLater();
  }

  /** Called when the first lease is taken. */
  #wake(): void {
    // Without the thread, leases end by the engine's own clock.
    this.prepare();
    this.#worker?.send({ kind: "wake" });
    this.#restLater();
  }

  /** Ends the thread; resolves once no thread is left. */
  async end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    this.#stopTimer?.();
    // The one before may still be ending, because it was idle.
    this.#gone = Promise.all([this.#gone, worker?.end?.()]).then(() => {});
    await this.#gone;
  }

  #endedByItself(worker: W, why: Error): void {
    if (this.#worker === worker) this.#worker = null;
    let settle = (_why: string): void => {};
    this.#again = new Promise((resolve) => {
      settle = resolve;
    });
    // Drops the leases that the thread had claimed but not dropped, before the next thread looks at them.
    worker.clients.lost();
    if (this.#parts.loop.preciseMs() - this.#restartedMs < RESTART_MS) {
      settle(why.message);
      this.#tryLater(RESTART_MS);
      return;
    }
    this.#restartedMs = this.#parts.loop.preciseMs();
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
      return errno === 0 ? "" : this.#parts.explain(errno);
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
   * Retries at growing intervals. On success all clients are notified, because changes may have been missed meanwhile.
   */
  #tryLater(ms: number): void {
    this.#stopTrying?.();
    const stop = this.#parts.loop.every(ms, () => {
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

  /** Checks periodically if the thread has become idle. */
  #restLater(): void {
    if (this.#stopTimer !== null || !this.#parts.endsIdle) return;
    const stop = this.#parts.loop.every(IDLE_MS, () => {
      const busy = [...this.#clients].some(
        ({ followed, watched }) =>
          followed.size > 0 || (watched !== null && Atomics.load(watched.leases, HELD_SLOTS) > 0),
      );
      if (!busy && this.#asking === 0) void this.end();
    });
    this.#stopTimer = () => {
      stop();
      this.#stopTimer = null;
    };
  }

  /** Opens the watchdog for the leases of one ring. */
  openWatchdog(ringFd: number, ended: MonitorEnded): Watchdog {
    const client = this.#add(ended, null);
    const id = this.#nextId++;
    return {
      id,
      watch: (leases) => this.#watch(client, { kind: "watch", id, leases, ringFd }),
      wake: () => this.#wake(),
      close: () => this.#delete(client),
    };
  }

  /** Opens the follower that reports other code's memory calls to an engine. */
  openFollower(calls: ForeignCalls, ended: MonitorEnded): Follower {
    const client = this.#add(ended, calls);
    return {
      prepare: () => this.prepare(),
      follow: async (table, watchdog) => {
        const { range, chunkBytes, words } = table;
        const message: FollowMessage = {
          kind: "follow",
          id: this.#nextId++,
          range,
          chunkBytes,
          words,
          watched: watchdog?.id ?? -1,
        };
        const errno = await this.#ask(message);
        if (errno < 0) {
          this.#parts.throwIfLack?.(errno);
          return this.#parts.explain(errno);
        }
        client.followed.set(table, message);
        return "";
      },
      unfollow: async (table) => {
        const message = client.followed.get(table);
        if (message === undefined) return;
        client.followed.delete(table);
        await this.#unfollow(table, message.id);
      },
      close: () => this.#delete(client),
    };
  }
}

function unfollowing(table: ChunkTable, id: number): UnfollowMessage {
  return { kind: "unfollow", id, pieces: without(table.range, table.gone) };
}
