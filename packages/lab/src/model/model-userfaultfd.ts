/**
 * A userfaultfd, used for its events: whoever changes registered memory waits until the event has been read. It's
 * readable as soon as an event is there; the thread that waits goes to sleep only after that, and can be seen to wait
 * only then.
 */

import { type MemoryEvent, overlaps, type Range, without } from "pinless/portable";

interface Raised {
  readonly event: MemoryEvent;
  readonly wasRead: () => void;
}

export class ModelUserfaultfd {
  /** What is registered, mapping by mapping. */
  #mappings: Range[] = [];
  #events: Raised[] = [];
  #armed: (() => void) | null = null;
  #closed = false;

  /** `edges`: where a mapping ends inside of the range and the next begins (parts that differ in a flag). */
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

  /** The registered mappings that a range meets, in order; none once it's closed. */
  mappingsOn(range: Range): Range[] {
    return this.#closed ? [] : this.#mappings.filter((mapping) => overlaps(mapping, range));
  }

  /** An event is there; `wasRead` is called when its thread may go on. */
  raise(event: MemoryEvent, wasRead: () => void): void {
    if (this.#closed) {
      wasRead();
      return;
    }
    this.#events.push({ event, wasRead });
    this.#tell();
  }

  /** The oldest event, whose thread goes on by that; null if there is none. */
  next(): MemoryEvent | null {
    const raised = this.#events.shift();
    if (raised === undefined) return null;
    raised.wasRead();
    return raised.event;
  }

  /** Has `readable` called once, now or later. */
  arm(readable: () => void): void {
    this.#armed = readable;
    if (this.#events.length > 0) this.#tell();
  }

  #tell(): void {
    const readable = this.#armed;
    this.#armed = null;
    readable?.();
  }

  /** Everybody who waits goes on, and nothing is registered any more. */
  close(): void {
    this.#closed = true;
    this.#armed = null;
    while (this.next() !== null);
  }
}
