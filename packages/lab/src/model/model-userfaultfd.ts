/**
 * A userfaultfd that only reports events: a thread that changes registered memory waits until its event has been read.
 * The descriptor is readable as soon as there is an event; the waiting thread goes to sleep only after that, and can be
 * seen sleeping only then.
 */

import { type MemoryEvent, overlaps, type Range, without } from "pinless/portable";

interface Raised {
  readonly event: MemoryEvent;
  readonly wasRead: () => void;
}

export class ModelUserfaultfd {
  /** Registered ranges, one for each mapping. */
  #mappings: Range[] = [];
  #events: Raised[] = [];
  #armed: (() => void) | null = null;
  #closed = false;

  /**
   * Registers a range, which consists of several mappings if there are `edges` inside it (neighbouring mappings that
   * differ in a flag).
   */
  register(range: Range, edges: readonly number[] = []): void {
    const inside = edges.filter((edge) => range.start < edge && edge < range.end).sort((a, b) => a - b);
    let start = range.start;
    for (const end of [...inside, range.end]) {
      if (start < end) this.#mappings.push({ start, end });
      start = end;
    }
    this.#mappings.sort((a, b) => a.start - b.start);
  }

  unregister(range: Range): void {
    this.#mappings = this.#mappings.flatMap((mapping) => without(mapping, [range]));
  }

  /** Registered mappings that overlap a range, in order; none after `close`. */
  mappingsOn(range: Range): Range[] {
    return this.#closed ? [] : this.#mappings.filter((mapping) => overlaps(mapping, range));
  }

  /** Queues an event. `wasRead` is called when its thread may continue. */
  raise(event: MemoryEvent, wasRead: () => void): void {
    if (this.#closed) {
      wasRead();
      return;
    }
    this.#events.push({ event, wasRead });
    this.#tell();
  }

  /** Takes the oldest event, whose thread then continues; null if there is none. */
  next(): MemoryEvent | null {
    const raised = this.#events.shift();
    if (raised === undefined) return null;
    raised.wasRead();
    return raised.event;
  }

  /** Calls `readable` once, as soon as there is an event. */
  arm(readable: () => void): void {
    this.#armed = readable;
    if (this.#events.length > 0) this.#tell();
  }

  #tell(): void {
    const readable = this.#armed;
    this.#armed = null;
    readable?.();
  }

  /** Unregisters everything; all waiting threads continue. */
  close(): void {
    this.#closed = true;
    this.#armed = null;
    while (this.next() !== null);
  }
}
