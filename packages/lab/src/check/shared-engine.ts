/**
 * One of the two engines of a scenario with shared memory: the shipped protocol, a ring, and a loop whose turns are
 * actions.
 */

import {
  type BufferLocation,
  CHUNK_WORDS,
  ChunkTable,
  COUNTED,
  type LeaseTable,
  type Loop,
  MISSED_SINCE_MS,
  type Owner,
  type OwnerWords,
  PAGE_BYTES,
  Protocol,
  READ,
  USED_MS,
  WAITS,
  WRITE,
} from "pinless/portable";
import type { Pages, Scenario } from "./scenario.js";
import { type SharedFrames, SharedRing } from "./shared-machine.js";

const FIRST_ADDRESS = 2 ** 33;

export interface SharedEngineParts {
  readonly scenario: Scenario;
  readonly memory: SharedFrames;
  /** Words of the memory's owner; null for the owner itself. */
  readonly owner: OwnerWords | null;
  /** The reading word; null for the engine whose monitor doesn't follow the memory. */
  readonly reading: Int32Array | null;
  handed(request: number): void;
  answered(request: number, errno: number): void;
}

export class SharedEngine implements Loop {
  readonly table: ChunkTable;
  readonly protocol: Protocol;
  readonly ring: SharedRing;
  readonly #locations: readonly BufferLocation[];
  readonly #owner: Owner = { active: 0, directWrites: 0, becameIdle: null };
  readonly #answered: SharedEngineParts["answered"];
  readonly #scenario: Scenario;
  readonly #micro: (() => void)[] = [];
  readonly #soon: (() => void)[] = [];
  thrown: unknown = null;

  constructor({ scenario, memory, owner, reading, handed, answered }: SharedEngineParts) {
    this.#scenario = scenario;
    this.#answered = answered;
    const { chunks, chunkPages, requests, scheme, leases } = scenario;
    const range = { start: FIRST_ADDRESS, end: FIRST_ADDRESS + chunks * chunkPages * PAGE_BYTES };
    this.table = new ChunkTable(range, chunkPages * PAGE_BYTES, undefined, owner);
    const pagesOf = (start: number, bytes: number): number[] =>
      memory.pagesOf({ start, end: start + bytes }, this.table);
    const requestOf = (location: BufferLocation): number => this.#locations.indexOf(location);
    const slots = leases + 1;
    this.ring = new SharedRing({ depth: requests.length, slots, memory, pagesOf, requestOf, handed });
    this.protocol = new Protocol({
      scheme: this.ring,
      loop: this,
      chunkBytes: this.table.chunkBytes,
      leases:
        scheme === "io_uring"
          ? { slots, budgetBytes: leases * Math.max(2 << 20, this.table.chunkBytes), idleMs: 8, maxMs: 64 }
          : null,
      ...(reading === null ? {} : { reading }),
    });
    const table = this.protocol.gate.addTable(this.table);
    if (owner === null) this.protocol.foreign.follow(this.table);
    this.#locations = requests.map((pages) => this.#location(pages, table));
    this.ring.locationOf = (request) => this.#locations[request]!;
    for (let c = 0; c < chunks; c++) {
      this.table.store(c, USED_MS, 1);
      this.table.store(c, MISSED_SINCE_MS, 2);
    }
  }

  #location(pages: Pages, table: number): BufferLocation {
    const { start, end } = this.rangeOf(pages);
    return {
      buffer: new Uint8Array(1),
      address: start,
      addressLow: start | 0,
      addressHigh: Math.floor(start / 2 ** 32),
      bytes: end - start,
      table,
      words: this.table.words,
      firstAt: this.table.chunkAt(start) * CHUNK_WORDS,
      lastAt: this.table.chunkAt(end - 1) * CHUNK_WORDS,
    };
  }

  rangeOf({ first, last }: Pages): { start: number; end: number } {
    return { start: FIRST_ADDRESS + first * PAGE_BYTES, end: FIRST_ADDRESS + (last + 1) * PAGE_BYTES };
  }

  /** Chunks of its table. */
  chunksOf(pages: Pages): { words: Int32Array; first: number; last: number } {
    return { words: this.table.words, ...this.table.chunksOf(this.rangeOf(pages))! };
  }

  submit(request: number): void {
    const direction = this.#scenario.requests[request]!.write ? WRITE : READ;
    const done = (errno: number): void => this.#answered(request, errno);
    const position = request * PAGE_BYTES;
    this.protocol.dispatcher.accept(
      direction,
      0,
      this.#owner,
      COUNTED,
      this.#locations[request]!,
      position,
      done,
      WAITS,
    );
  }

  /** Completes a request in the ring, and wakes the loop. */
  complete(request: number): void {
    this.ring.complete(request);
    this.protocol.dispatcher.turns.turnOfLoop();
  }

  get mayTurn(): boolean {
    return this.#soon.length > 0;
  }

  turn(): void {
    this.#soon.shift()!();
  }

  runMicrotasks(): void {
    for (let run = this.#micro.shift(); run !== undefined; run = this.#micro.shift()) run();
  }

  nowMs(): number {
    return 1;
  }

  preciseMs(): number {
    return 0;
  }

  microtask(run: () => void): void {
    this.#micro.push(run);
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  every(): () => void {
    return () => {};
  }

  after(): void {}

  uncaught(error: unknown): void {
    this.thrown ??= error;
  }

  /** Everything that determines what it does next. */
  get state(): unknown {
    const { dispatcher, gate, leases, notifier } = this.protocol;
    const names = (all: Iterable<{ location: BufferLocation }>): number[] =>
      [...all].map(({ location }) => this.#locations.indexOf(location));
    return [
      [...this.table.words],
      this.table.gone.map(({ start }) => start),
      leases === null ? [] : leaseState(leases.table),
      [...dispatcher.requests.words],
      dispatcher.requests.locations.map((location) =>
        location === undefined ? -1 : this.#locations.indexOf(location),
      ),
      names(dispatcher.parked),
      names(gate.held),
      gate.readOnly.ranges,
      notifier.waiting.map(({ event, state }) => [event, state]),
      notifier.on(this.table.range).map(({ event, state, draining, range }) => [event, state, draining, range.start]),
      this.#soon.length,
      this.ring.state,
    ];
  }
}

/** The state of each slot, without figures and times. */
function leaseState(table: LeaseTable): number[][] {
  return Array.from({ length: table.slots }, (_, slot) => [table.state(slot), table.target(slot).chunk]);
}
