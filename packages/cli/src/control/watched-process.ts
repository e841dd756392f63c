/** A process whose engines are looked at again and again: threads and engines come and go meanwhile. */

import { Connection, type StatsAnswer, socketsOf, Unreachable } from "./client.js";

export interface WatchedThread {
  readonly thread: number;
  /** For how long it hasn't answered, in whole seconds: the figures are older than that. */
  readonly silentSeconds: number;
  /** Null until it has answered twice, and while it's silent. */
  readonly engines: readonly (StatsAnswer["engines"][number] & { readonly requestsPerSecond: number | null })[];
}

interface Watch {
  readonly connection: Connection;
  /** What it said last, and when; and before that. */
  now: Answered | null;
  before: Answered | null;
  /** A question is asked at a time: a busy thread isn't asked again. */
  asked: { readonly atMs: number; readonly answered: Promise<void> } | null;
}

interface Answered {
  readonly atMs: number;
  readonly engines: StatsAnswer["engines"];
}

export class Watched {
  readonly #pid: number;
  readonly #watches = new Map<string, Watch>();
  #hasAnswered = false;
  #misunderstood: Unreachable | null = null;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Whether it was there and answered at all. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /** Asks all threads, and waits for them, but not for longer than this. Rejects with `Unreachable`; ESRCH: the process is gone. */
  async look(waitMs: number): Promise<WatchedThread[]> {
    await this.#connect();
    for (const watch of this.#watches.values()) this.#ask(watch);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    await Promise.race([late, Promise.all([...this.#watches.values()].map(({ asked }) => asked?.answered))]);
    clearTimeout(timer);
    if (this.#misunderstood !== null) throw this.#misunderstood;
    const watches = [...this.#watches.values()].filter(({ connection }) => connection.isOpen);
    // One that was closed may have been with its process.
    if (watches.length < this.#watches.size) this.#places();
    const threads = watches.map(figuresOf);
    return threads.sort((a, b) => a.thread - b.thread);
  }

  async #connect(): Promise<void> {
    for (const place of this.#places()) {
      if (this.#watches.has(place.path)) continue;
      try {
        const connection = await Connection.open(place, this.#pid);
        this.#watches.set(place.path, { connection, now: null, before: null, asked: null });
      } catch (error) {
        // It closed its last engine in this moment.
        if (!(error instanceof Unreachable && error.code === "ENOENT")) throw error;
      }
    }
    for (const [path, { connection }] of this.#watches) if (!connection.isOpen) this.#watches.delete(path);
  }

  #places(): ReturnType<typeof socketsOf> {
    try {
      return socketsOf(this.#pid);
    } catch (error) {
      // It has no engine now; it had, and may have again.
      if (this.#hasAnswered && error instanceof Unreachable && error.code === "ENOENT") return [];
      throw error;
    }
  }

  #ask(watch: Watch): void {
    if (watch.asked !== null) return;
    const answered = watch.connection.stats().then(
      ({ engines }) => {
        watch.before = watch.now;
        watch.now = { atMs: performance.now(), engines };
        watch.asked = null;
        this.#hasAnswered = true;
      },
      // The connection is closed, and goes with the next look; unless whoever is there can't be understood.
      (error: Unreachable) => {
        if (error.code === "EPROTO") this.#misunderstood = error;
      },
    );
    watch.asked = { atMs: performance.now(), answered };
  }

  close(): void {
    for (const { connection } of this.#watches.values()) connection.close();
  }
}

function figuresOf({ connection, now, before, asked }: Watch): WatchedThread {
  return {
    thread: connection.place.thread,
    silentSeconds: asked === null ? 0 : Math.max(1, Math.round((performance.now() - asked.atMs) / 1000)),
    engines: (now?.engines ?? []).map((engine) => {
      const then = before?.engines.find((other) => other.engine === engine.engine);
      const ended = then && engine.completed + engine.failed - then.completed - then.failed;
      const seconds = (now!.atMs - (before?.atMs ?? 0)) / 1000;
      return { ...engine, requestsPerSecond: ended === undefined || asked !== null ? null : ended / seconds };
    }),
  };
}
