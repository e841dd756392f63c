/**
 * The machine of a scenario with two engines on one memory: frames of pages, and a ring for each engine. A frame is a
 * number that grows, so that an older one is known by being smaller.
 */

import type { BufferLocation, ChunkTable, CompletionSink, Direction, Registrations, Scheme } from "pinless/portable";
import { PAGE_BYTES, type Range, violated } from "pinless/portable";

/** Frame of a page that other code has unmapped; of one where it may have mapped something else since. */
export const GONE = -1;
export const BURIED = -2;

export class SharedFrames {
  readonly frames: number[];
  #last: number;

  constructor(pages: number) {
    this.frames = Array.from({ length: pages }, (_, page) => page);
    this.#last = pages;
  }

  pagesOf({ start, end }: Range, { range }: ChunkTable): number[] {
    const first = (start - range.start) / PAGE_BYTES;
    return Array.from({ length: (end - start) / PAGE_BYTES }, (_, i) => first + i);
  }

  /** Frees pages: the next use allocates others. */
  discard(pages: readonly number[]): void {
    for (const page of pages) if (this.frames[page]! >= 0) this.frames[page] = this.#last++;
  }

  set(pages: readonly number[], to: typeof GONE | typeof BURIED): void {
    for (const page of pages) this.frames[page] = to;
  }
}

/** A registered buffer: the frames of some pages. */
interface Registered {
  readonly first: number;
  readonly frames: readonly number[];
}

interface Prepared {
  readonly slot: number;
  readonly request: number;
  /** The registration that it uses; null if it uses none. */
  readonly registered: Registered | null;
  readonly bufferSlot: number;
}

interface InFlight extends Prepared {
  /** The frames that the kernel has looked up. */
  readonly frames: readonly number[];
}

/** Called with each request that the kernel is handed. */
type Handed = (request: number) => void;

/** The ring of one engine, with its registered buffers. */
export class SharedRing implements Scheme, Registrations {
  readonly name = "io_uring";
  readonly depth: number;
  readonly registrations: Registrations = this;
  readonly slots: number;
  readonly comparesSegments = false;
  readonly userChanged = false;
  readonly #memory: SharedFrames;
  readonly #requestOf: (location: BufferLocation) => number;
  readonly #pagesOf: (address: number, bytes: number) => number[];
  readonly #handed: Handed;
  readonly #registered: (Registered | null)[];
  /** Slots that were emptied, and wait for the end of the last request that uses them. */
  readonly #leaving = new Set<number>();
  #prepared: Prepared[] = [];
  #inFlight: InFlight[] = [];
  #done: (InFlight | { readonly tag: number })[] = [];
  /** Frames that each completed request has used. */
  readonly used: (readonly number[] | undefined)[] = [];
  /** True for a request some of whose frames weren't its pages' any more when the device was done with them. */
  readonly late: boolean[] = [];

  constructor(parts: {
    readonly depth: number;
    readonly slots: number;
    readonly memory: SharedFrames;
    readonly pagesOf: (address: number, bytes: number) => number[];
    readonly requestOf: (location: BufferLocation) => number;
    readonly handed: Handed;
  }) {
    this.depth = parts.depth;
    this.slots = parts.slots;
    this.#memory = parts.memory;
    this.#requestOf = parts.requestOf;
    this.#pagesOf = parts.pagesOf;
    this.#handed = parts.handed;
    this.#registered = new Array(parts.slots).fill(null);
  }

  /** Everything that determines what it does next. */
  get state(): unknown {
    return [this.#prepared, this.#inFlight, this.#done, this.#registered, [...this.#leaving], this.used, this.late];
  }

  attachFile(): number {
    return 0;
  }

  detachFile(): void {}

  prepare(slot: number, _: Direction, _file: number, location: BufferLocation, _at: number, bufferSlot: number): void {
    const request = this.#requestOf(location);
    this.#handed(request);
    const registered = bufferSlot < 0 ? null : this.#registered[bufferSlot]!;
    this.#prepared.push({ slot, request, registered, bufferSlot });
  }

  cancel(): void {}

  /** Begins what was prepared: the kernel looks up its frames, in the registration or in the page tables. */
  enter(): number {
    const entering = this.#prepared;
    this.#prepared = [];
    for (const each of entering) this.#inFlight.push({ ...each, frames: this.#lookUp(each) });
    return entering.length;
  }

  locationOf: (request: number) => BufferLocation = () => violated("STATE", "no locations yet");

  #lookUp({ request, registered }: Prepared): number[] {
    const { address, bytes } = this.locationOf(request);
    const { first, frames } = registered ?? { first: 0, frames: this.#memory.frames };
    return this.#pagesOf(address, bytes).map((page) => frames[page - first]!);
  }

  isInFlight(request: number): boolean {
    return this.#inFlight.some((each) => each.request === request);
  }

  /** True if the request is with the kernel, or about to be. */
  has(request: number): boolean {
    return this.isInFlight(request) || this.#prepared.some((each) => each.request === request);
  }

  /** Completes a request. */
  complete(request: number): void {
    const at = this.#inFlight.findIndex((each) => each.request === request);
    const [done] = this.#inFlight.splice(at, 1) as [InFlight];
    this.used[request] = done.frames;
    this.late[request] = done.frames.some((frame, i) => frame !== this.#lookUp({ ...done, registered: null })[i]);
    this.#done.push(done);
    this.#postTags();
  }

  #postTags(): void {
    for (const slot of this.#leaving) {
      const uses = [...this.#prepared, ...this.#inFlight].some(({ bufferSlot }) => bufferSlot === slot);
      if (uses) continue;
      this.#leaving.delete(slot);
      this.#done.push({ tag: slot });
    }
  }

  reap(sink: CompletionSink, limit: number): number {
    const now = this.#done.splice(0, limit);
    for (const each of now) {
      if ("tag" in each) sink.released(each.tag);
      else sink.completed(each.slot, PAGE_BYTES);
    }
    this.#postTags();
    return now.length;
  }

  arm(): boolean {
    return this.#done.length === 0;
  }

  keepAlive(): void {}

  close(): void {}

  take(slot: number, address: number, bytes: number): number {
    const pages = this.#pagesOf(address, bytes);
    this.#registered[slot] = { first: pages[0]!, frames: pages.map((page) => this.#memory.frames[page]!) };
    return 0;
  }

  drop(slot: number): number {
    this.#registered[slot] = null;
    this.#leaving.add(slot);
    this.#postTags();
    return 0;
  }

  populate(): number {
    return 0;
  }

  costPages(): number {
    return 0;
  }
}
