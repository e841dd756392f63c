/** Virtual time: a queue of timed events. Only running the next event moves the clock. */

/** Scheduled event. Events of `after` are reused, because a campaign has millions of them. */
interface Event {
  atMs: number;
  /** Sequence number: events of the same moment run in the order in which they were scheduled. */
  order: number;
  run: (value: number) => void;
  value: number;
  /** Period of a repeating event; 0 if it runs once. */
  readonly everyMs: number;
  cancelled: boolean;
}

export class VirtualClock {
  /** A binary heap by time, then order. */
  readonly #heap: Event[] = [];
  /** Events of `after` that have run, for reuse. */
  readonly #unused: Event[] = [];
  #nextOrder = 0;
  #nowMs = 0;
  #foreground = 0;
  /** Called when the first event is scheduled after there were none. */
  awake: (() => void) | null = null;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** True if there are events other than periodic ones. */
  get busy(): boolean {
    return this.#foreground > 0;
  }

  /**
   * Runs `run(value)` after a number of milliseconds, which may have a fraction. Because of `value`, one function can
   * serve many events.
   */
  after(ms: number, run: (value: number) => void, value = 0): void {
    const event = this.#unused.pop() ?? { atMs: 0, order: 0, run, value, everyMs: 0, cancelled: false };
    event.run = run;
    event.value = value;
    this.#add(event, ms);
    if (this.#foreground++ === 0) this.awake?.();
  }

  /** Runs `run` periodically, for as long as other events remain. The returned function stops it. */
  every(ms: number, run: () => void): () => void {
    const event = { atMs: 0, order: 0, run, value: 0, everyMs: ms, cancelled: false };
    this.#add(event, ms);
    return () => {
      event.cancelled = true;
    };
  }

  #add(event: Event, ms: number): void {
    event.atMs = this.#nowMs + ms;
    event.order = this.#nextOrder++;
    this.#up(this.#heap.push(event) - 1, event);
  }

  /** Advances to the next event and runs it. Returns false if there is none. */
  step(): boolean {
    for (let next = this.#pop(); next !== undefined; next = this.#pop()) {
      if (next.cancelled) continue;
      this.#nowMs = next.atMs;
      const { run, value, everyMs } = next;
      if (everyMs > 0) this.#add(next, everyMs);
      else {
        this.#foreground--;
        this.#unused.push(next);
      }
      run(value);
      return true;
    }
    return false;
  }

  #pop(): Event | undefined {
    const top = this.#heap[0];
    const last = this.#heap.pop();
    if (top === undefined || last === undefined || this.#heap.length === 0) return top;
    this.#down(last);
    return top;
  }

  #up(place: number, event: Event): void {
    for (let at = place; ; ) {
      const parent = (at - 1) >> 1;
      if (at === 0 || !before(event, this.#heap[parent]!)) {
        this.#heap[at] = event;
        return;
      }
      this.#heap[at] = this.#heap[parent]!;
      at = parent;
    }
  }

  #down(event: Event): void {
    for (let at = 0; ; ) {
      let child = 2 * at + 1;
      if (child + 1 < this.#heap.length && before(this.#heap[child + 1]!, this.#heap[child]!)) child++;
      if (child >= this.#heap.length || !before(this.#heap[child]!, event)) {
        this.#heap[at] = event;
        return;
      }
      this.#heap[at] = this.#heap[child]!;
      at = child;
    }
  }
}

function before(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
