/** Limits and cancels calls that may never end by themselves: those on pipes, terminals and sockets. */

import { type Direction, READ, WRITE } from "../protocol/direction.js";

/** A call that may never end by itself. It's ended early when its file closes, its signal aborts or its memory goes. */
export class CancellableCall {
  /** True if the call is a stream's: its stream decides when it ends, not `file.close()`. */
  readonly ofStream: boolean;
  #errno = 0;
  /** Ends the wait that the call is in now. */
  #leave: (() => void) | null = null;

  constructor(ofStream = false) {
    this.ofStream = ofStream;
  }

  /** 0, or the errno that the call was ended with. */
  get errno(): number {
    return this.#errno;
  }

  /** Ends the call with a positive errno, unless it has already transferred something. */
  end(errno: number): void {
    if (this.#errno !== 0) return;
    this.#errno = errno;
    this.#leave?.();
  }

  /** Waits for `run`, while `end` calls `leave` to make it finish early. */
  async during<T>(leave: () => void, run: () => Promise<T>): Promise<T> {
    this.#leave = leave;
    try {
      return await run();
    } finally {
      this.#leave = null;
    }
  }
}

/**
 * Limits pipe and socket calls to a share of the queue, so that they can't starve files. Reads get half, so that a
 * blocked read can't starve the write whose answer it waits for.
 */
export class StreamCallLimits {
  readonly #all: Semaphore;
  readonly #reads: Semaphore;

  /** `capacity` is the number of requests of all kinds. With fewer than three, files or writes can starve. */
  constructor(capacity: number) {
    this.#all = new Semaphore(Math.max(capacity - 1, Math.min(capacity, 2)));
    this.#reads = new Semaphore(Math.max(1, capacity >> 1));
  }

  /** Resolves to true once there is room; `give` it back afterwards. Resolves to false if the call is ended first. */
  async take(direction: Direction, call: CancellableCall): Promise<boolean> {
    if (direction === WRITE) return this.#all.take(call);
    if (!(await this.#reads.take(call))) return false;
    if (await this.#all.take(call)) return true;
    this.#reads.give();
    return false;
  }

  give(direction: Direction): void {
    this.#all.give();
    if (direction === READ) this.#reads.give();
  }
}

class Semaphore {
  #free: number;
  /** Waiting calls, oldest first. */
  readonly #waiting = new Set<(taken: boolean) => void>();

  constructor(count: number) {
    this.#free = count;
  }

  async take(call: CancellableCall): Promise<boolean> {
    if (call.errno !== 0) return false;
    if (this.#free > 0) {
      this.#free--;
      return true;
    }
    let go = (_taken: boolean): void => {};
    const turn = new Promise<boolean>((resolve) => {
      go = resolve;
    });
    this.#waiting.add(go);
    const leave = (): void => {
      if (this.#waiting.delete(go)) go(false);
    };
    return call.during(leave, () => turn);
  }

  give(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#free++;
    else {
      this.#waiting.delete(next);
      next(true);
    }
  }
}
