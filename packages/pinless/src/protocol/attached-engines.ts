/**
 * The owner's side of a shared arena: engines of other threads that have attached it. Each is a subscriber of the
 * owner's notifier, so an invalidation there (the owner's own operation, or a call of other code) stops them as it
 * stops the owner's gate, and begins once all have answered that their I/O is drained. Their side is `Attachment`.
 */

import { ChunkTable, GATE, REFUSED, UNMAPPED } from "./chunk-table.js";
import type { MmuEvent } from "./events.js";
import { announce, type SegmentChunks } from "./monitor/deferred-changes.js";
import type { Invalidation, MmuNotifier, Subscriber, Subscription } from "./notifier.js";
import type { Protection } from "./public-notifier.js";
import type { RangeSet } from "./ranges/range-set.js";
import type { Range } from "./ranges/ranges.js";

/** A message of a shared arena's owner to an attached engine. */
export type ToAttached =
  /** Asks to drain a range, and to answer `stopped`. */
  | { readonly kind: "stop"; readonly id: number; readonly range: Range; readonly event: MmuEvent }
  /** Ends that invalidation. */
  | { readonly kind: "resume"; readonly id: number; readonly protections: readonly Protection[] }
  /** Other code has unmapped a range, whose chunks stay announced in the attached engine's words until it knows. */
  | { readonly kind: "unmapped"; readonly gone: Range }
  /** Announced changes are over: requests that waited for that may begin. */
  | { readonly kind: "concluded" };

/** The answer of an attached engine: no I/O that the invalidation excludes is in flight. */
export interface Stopped {
  readonly kind: "stopped";
  readonly id: number;
}

/** Memory of the owner: its chunk table, and the words of the attached engine's table of the same range. */
export interface AttachedPart {
  readonly table: ChunkTable;
  readonly words: Int32Array;
}

/** An attached engine, as the owner's notifier sees it. */
export class AttachedEngine implements Subscriber {
  readonly #notifier: MmuNotifier;
  readonly #post: (message: ToAttached) => void;
  /** Tables of the attached engine. */
  readonly #tables: readonly ChunkTable[];
  readonly #subscriptions: readonly Subscription[];
  /** Invalidations that it was told of, by number, until their end. */
  readonly #told = new Map<number, Told>();
  #lastId = 0;

  /** Called by `AttachedEngines.add` only. */
  constructor(
    notifier: MmuNotifier,
    readOnly: RangeSet,
    parts: readonly AttachedPart[],
    post: (message: ToAttached) => void,
  ) {
    this.#notifier = notifier;
    this.#post = post;
    this.#tables = parts.map(({ table, words }) => new ChunkTable(table.range, table.chunkBytes, words));
    this.#subscriptions = parts.map(({ table }) => notifier.insert(table.range, this, table.chunkBytes));
    for (const { table } of parts) this.#catchUp(table, readOnly);
  }

  /** Tells of what has happened to memory before, and of what happens to it now. It has no I/O there yet. */
  #catchUp(table: ChunkTable, readOnly: RangeSet): void {
    const { range, gone } = table;
    for (const part of gone) this.unmapped(part);
    for (let c = 0; c < table.chunks; c++)
      if ((table.load(c, GATE) & (UNMAPPED | REFUSED)) !== 0) this.unmapped(table.rangeOf(c));
    const protections = readOnly.within(range).map((part) => ({ range: part, readOnly: true }));
    if (protections.length > 0) {
      const id = ++this.#lastId;
      this.#post({ kind: "stop", id, range, event: "PROTECTION_VMA" });
      this.#post({ kind: "resume", id, protections });
    }
    for (const invalidation of this.#notifier.on(range)) this.#tell(invalidation, false);
  }

  #tell(invalidation: Invalidation, awaited: boolean): void {
    const id = ++this.#lastId;
    this.#told.set(id, { invalidation, awaited });
    this.#post({ kind: "stop", id, range: invalidation.range, event: invalidation.event });
  }

  /** True if an answer is awaited. */
  get isAwaited(): boolean {
    return [...this.#told.values()].some(({ awaited }) => awaited);
  }

  /** False: another thread can't answer at once. */
  isQuiet(): boolean {
    return false;
  }

  /** False: the attached engine's own notifier keeps the order of what it holds and of later invalidations. */
  holds(): boolean {
    return false;
  }

  stop(invalidation: Invalidation): number {
    this.#tell(invalidation, true);
    return 1;
  }

  resume(invalidation: Invalidation): void {
    for (const [id, told] of this.#told) {
      if (told.invalidation !== invalidation) continue;
      this.#told.delete(id);
      this.#post({ kind: "resume", id, protections: invalidation.protections });
    }
  }

  /** Notes the answer to a stop. */
  stopped(id: number): void {
    const told = this.#told.get(id);
    if (told === undefined || !told.awaited) return;
    told.awaited = false;
    told.invalidation.drained();
  }

  /** Tells that other code has unmapped a range. It's announced there first, so that no request begins meanwhile. */
  unmapped(gone: Range): void {
    for (const chunks of chunksIn(this.#tables, gone)) announce(chunks);
    this.#post({ kind: "unmapped", gone });
  }

  concluded(): void {
    this.#post({ kind: "concluded" });
  }

  /** Removes the engine, which has no I/O on the memory any more, or whose thread has ended. */
  end(): void {
    const awaited = [...this.#told.values()].filter((told) => told.awaited);
    this.#told.clear();
    for (const { invalidation } of awaited) invalidation.drained();
    for (const subscription of this.#subscriptions) this.#notifier.remove(subscription);
  }
}

interface Told {
  readonly invalidation: Invalidation;
  /** True until it has answered. */
  awaited: boolean;
}

export class AttachedEngines {
  readonly #notifier: MmuNotifier;
  readonly #readOnly: RangeSet;
  readonly #all = new Set<AttachedEngine>();

  /** `readOnly` are the owner's read-only pages. */
  constructor(notifier: MmuNotifier, readOnly: RangeSet) {
    this.#notifier = notifier;
    this.#readOnly = readOnly;
  }

  /** Adds an engine, before it begins I/O on the memory. `post` sends it a message, in order. */
  add(parts: readonly AttachedPart[], post: (message: ToAttached) => void): AttachedEngine {
    const engine = new AttachedEngine(this.#notifier, this.#readOnly, parts, post);
    this.#all.add(engine);
    return engine;
  }

  remove(engine: AttachedEngine): void {
    if (this.#all.delete(engine)) engine.end();
  }

  concluded(): void {
    for (const engine of this.#all) engine.concluded();
  }

  unmapped(gone: Range): void {
    for (const engine of this.#all) engine.unmapped(gone);
  }
}

/** The chunks of these tables that a range meets. */
export function chunksIn(tables: readonly ChunkTable[], range: Range): SegmentChunks[] {
  return tables.flatMap((table) => {
    const chunks = table.chunksOf(range);
    return chunks === null ? [] : [{ words: table.words, ...chunks }];
  });
}
