/** Virtual time: what is to happen, in its order. Nothing else moves the clock. */

interface Event {
  readonly atMs: number;
  /** Events of one moment happen in the order in which they were asked for. */
  readonly order: number;
  readonly run: () => void;
  readonly background: boolean;
  cancelled: boolean;
}

export class VirtualClock {
  /** A binary heap by time, then order. */
  readonly #heap: Event[] = [];
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

  /** Runs `run` after so many milliseconds (fractions too). */
  after(ms: number, run: () => void): void {
    this.#add(ms, run, false);
  }

  /** Runs `run` every so often, for as long as there is anything else to do; the returned function ends it. */
  every(ms: number, run: () => void): () => void {
    let event: Event;
    const again = (): void => {
      event = this.#add(ms, again, true);
      run();
    };
    event = this.#add(ms, again, true);
    return () => {
      event.cancelled = true;
    };
  }

  #add(ms: number, run: () => void, background: boolean): Event {
    const event = { atMs: this.#nowMs + ms, order: this.#nextOrder++, run, background, cancelled: false };
    this.#up(this.#heap.push(event) - 1, event);
    if (!background && this.#foreground++ === 0) this.awake?.();
    return event;
  }

  /** Goes on to the next event and runs it. False: there was none. */
  step(): boolean {
    for (let next = this.#pop(); next !== undefined; next = this.#pop()) {
      if (next.cancelled) continue;
      this.#nowMs = next.atMs;
      if (!next.background) this.#foreground--;
      next.run();
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
