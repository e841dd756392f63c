/** Observes a process whose threads and engines come and go. */

import { Connection, type StatsAnswer, socketsOf, Unreachable } from "./client.js";

export interface WatchedThread {
  readonly thread: number;
  /** Whole seconds without an answer; the figures are older than that. */
  readonly silentSeconds: number;
  /** Null until it has answered twice, and while it's silent. */
  readonly engines: readonly (StatsAnswer["engines"][number] & { readonly requestsPerSecond: number | null })[];
}

interface Watch {
  readonly connection: Connection;
  /** Its last answer with its time, and the one before. */
  now: Answered | null;
  before: Answered | null;
  /** The pending question: a busy thread isn't asked again. */
  asked: { readonly atMs: number; readonly answered: Promise<void> } | null;
}

interface Answered {
  readonly atMs: number;
  readonly engines: StatsAnswer["engines"];
}

export class WatchedProcess {
  readonly #pid: number;
  readonly #watches = new Map<string, Watch>();
  #hasAnswered = false;
  #misunderstood: Unreachable | null = null;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** True if it has answered at least once. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  /**
   * Asks all threads, and waits for `waitMs` at most. Rejects with `Unreachable`, whose code ESRCH means that the
   * process has ended.
   */
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
    // A closed connection may mean that the process has ended.
    if (watches.length < this.#watches.size) this.#socketPaths();
    const threads = watches.map(figuresOf);
    return threads.sort((a, b) => a.thread - b.thread);
  }

  async #connect(): Promise<void> {
    for (const socketPath of this.#socketPaths()) {
      if (this.#watches.has(socketPath.path)) continue;
      try {
        const connection = await Connection.open(socketPath, this.#pid);
        this.#watches.set(socketPath.path, { connection, now: null, before: null, asked: null });
      } catch (error) {
        // It has just closed its last engine.
        if (!(error instanceof Unreachable && error.code === "ENOENT")) throw error;
      }
    }
    for (const [path, { connection }] of this.#watches) if (!connection.isOpen) this.#watches.delete(path);
  }

  #socketPaths(): ReturnType<typeof socketsOf> {
    try {
      return socketsOf(this.#pid);
    } catch (error) {
      // It has no engine now, but had one, and may have one again.
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
      // The connection is closed, and dropped at the next look, unless the answer couldn't be understood.
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
    thread: connection.socketPath.thread,
    silentSeconds: asked === null ? 0 : Math.max(1, Math.round((performance.now() - asked.atMs) / 1000)),
    engines: (now?.engines ?? []).map((engine) => {
      const then = before?.engines.find((other) => other.engine === engine.engine);
      const ended = then && engine.completed + engine.failed - then.completed - then.failed;
      const seconds = (now!.atMs - (before?.atMs ?? 0)) / 1000;
      return { ...engine, requestsPerSecond: ended === undefined || asked !== null ? null : ended / seconds };
    }),
  };
}
