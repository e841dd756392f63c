/** Calls that may never end: of pipes, terminals and sockets. */

/** One call. Whoever takes away what it waits for, or its memory, ends it early. */
export class EndlessCall {
  /** Its stream says when it ends. */
  readonly ofStream: boolean;
  #errno = 0;
  /** Ends what it's waiting in now. */
  #leave: (() => void) | null = null;

  constructor(ofStream = false) {
    this.ofStream = ofStream;
  }

  /** 0, or why it was ended. */
  get errno(): number {
    return this.#errno;
  }

  /** `errno`: positive, what the call fails with if nothing has come of it by then. */
  end(errno: number): void {
    if (this.#errno !== 0) return;
    this.#errno = errno;
    this.#leave?.();
  }

  /** Waits for what `run` gives; `leave` has it settle soon. */
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
 * How many such requests are in the kernel at a time: never all that there's room for, or files would have to wait for a pipe; and only half
 * of them reads, or what waits for an answer would hold up the question.
 */
export class EndlessPlaces {
  readonly #all: Places;
  readonly #reads: Places;

  /** `capacity`: requests of all kinds. Below three there is no room for all that. */
  constructor(capacity: number) {
    this.#all = new Places(Math.max(capacity - 1, Math.min(capacity, 2)));
    this.#reads = new Places(Math.max(1, capacity >> 1));
  }

  /** Resolves once there's a place, or with false when the call is ended. `give` it back. */
  async take(write: boolean, call: EndlessCall): Promise<boolean> {
    if (write) return this.#all.take(call);
    if (!(await this.#reads.take(call))) return false;
    if (await this.#all.take(call)) return true;
    this.#reads.give();
    return false;
  }

  give(write: boolean): void {
    this.#all.give();
    if (!write) this.#reads.give();
  }
}

class Places {
  #free: number;
  /** In the order of asking. */
  readonly #waiting = new Set<(taken: boolean) => void>();

  constructor(places: number) {
    this.#free = places;
  }

  async take(call: EndlessCall): Promise<boolean> {
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
