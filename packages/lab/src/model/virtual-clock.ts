/** Virtual time: what is to happen, in its order. Nothing else moves the clock. */

/** One thing to come. Those of `after` are used again and again: there are millions of them in a campaign. */
interface Event {
  atMs: number;
  /** Events of one moment happen in the order in which they were asked for. */
  order: number;
  run: (value: number) => void;
  value: number;
  /** 0: happens once. */
  readonly everyMs: number;
  cancelled: boolean;
}

export class VirtualClock {
  /** A binary heap by time, then order. */
  readonly #heap: Event[] = [];
  /** Events of `after` that have happened. */
  readonly #unused: Event[] = [];
  #nextOrder = 0;
  #nowMs = 0;
  #foreground = 0;
  /** Called when there is something to do after there was nothing. */
  awake: (() => void) | null = null;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Whether anything is to come but what goes on for ever (periodic timers). */
  get busy(): boolean {
    return this.#foreground > 0;
  }

  /** Runs `run(value)` after so many milliseconds (fractions too). With `value` one function does for many events. */
  after(ms: number, run: (value: number) => void, value = 0): void {
    const event = this.#unused.pop() ?? { atMs: 0, order: 0, run, value, everyMs: 0, cancelled: false };
    event.run = run;
    event.value = value;
    this.#add(event, ms);
    if (this.#foreground++ === 0) this.awake?.();
  }

  /** Runs `run` every so often, for as long as there is anything else to do; the returned function ends it. */
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

  /** Goes on to the next event and runs it. False: there was none. */
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
