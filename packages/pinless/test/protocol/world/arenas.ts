// Arenas side by side, at addresses beyond 32 bits: opened, closed, and opened again at the same place.

import { CHUNK_WORDS, ChunkTable } from "../../../dist/protocol/chunk-table.js";
import type { ForeignCalls } from "../../../dist/protocol/foreign-calls.js";
import type { Gate } from "../../../dist/protocol/gate.js";
import type { Range } from "../../../dist/protocol/ranges/ranges.js";
import type { BufferLocation } from "../../../dist/protocol/scheme.js";
import { CHUNK, PAGE } from "./kernel.js";
import type { Where } from "./operations.js";
import { chunkOf, type RefChunk, type Reference } from "./reference.js";

const FIRST_CHUNK = 0x7f00_0000;
const CHUNKS_A_PLACE = 3;
const PLACES = 3;

/** Chunks, by their numbers. */
export interface Chunks {
  readonly first: number;
  readonly last: number;
}

export interface Arena {
  readonly table: ChunkTable;
  readonly index: number;
  closing: boolean;
}

export class Arenas {
  readonly all: (Arena | null)[] = new Array(PLACES).fill(null);
  readonly #gate: Gate;
  readonly #calls: ForeignCalls;
  readonly #reference: Reference;

  constructor(gate: Gate, calls: ForeignCalls, reference: Reference) {
    this.#gate = gate;
    this.#calls = calls;
    this.#reference = reference;
  }

  /** `shortBy`: pages that the last chunk lacks. */
  add(location: number, chunks: number, shortBy: number): void {
    if (this.all[location] !== null) return;
    const first = FIRST_CHUNK + location * CHUNKS_A_PLACE;
    const table = new ChunkTable({ start: first * CHUNK, end: (first + chunks) * CHUNK - shortBy * PAGE }, CHUNK);
    for (let c = 0; c < chunks; c++) {
      const { start, end } = table.rangeOf(c);
      this.#reference.addChunk(first + c, end - start);
    }
    this.all[location] = { table, index: this.#gate.addTable(table), closing: false };
    this.#calls.follow(table);
  }

  remove(arena: Arena): void {
    this.all[this.all.indexOf(arena)] = null;
    const first = chunkOf(arena.table.range.start);
    for (let c = 0; c < arena.table.chunks; c++) this.#reference.chunks.delete(first + c);
    this.#calls.unfollow(arena.table);
    this.#gate.removeTable(arena.index);
  }

  at(location: number): Arena | null {
    return this.all[location] ?? null;
  }

  byIndex(index: number): Arena {
    return this.all.find((arena) => arena?.index === index)!;
  }

  /** Memory of a place, whatever is there, and on into its neighbours. */
  range(where: Where): { start: number; end: number } {
    const start = (FIRST_CHUNK + where.arena * CHUNKS_A_PLACE) * CHUNK + where.page * PAGE;
    return { start, end: start + where.pages * PAGE };
  }

  /** A buffer of an arena. */
  buffer(arena: Arena, where: Where): BufferLocation {
    const { table, index } = arena;
    const { start, end } = table.range;
    const address = start + ((where.page * PAGE) % (end - start));
    const bytes = Math.min(where.pages * PAGE, end - address);
    return {
      buffer: new Uint8Array(1),
      address,
      addressLow: address | 0,
      addressHigh: Math.floor(address / 2 ** 32),
      bytes,
      table: index,
      words: table.words,
      firstAt: table.chunkAt(address) * CHUNK_WORDS,
      lastAt: table.chunkAt(address + bytes - 1) * CHUNK_WORDS,
    };
  }

  /** Parts of a range that are in arenas, one for each arena, in the order of addresses. */
  partsOf({ start, end }: Range): Chunks[] {
    return this.all.flatMap((arena) => {
      const chunks = arena?.table.chunksOf({ start, end }) ?? null;
      if (arena === null || chunks === null) return [];
      const first = chunkOf(arena.table.range.start);
      return [{ first: first + chunks.first, last: first + chunks.last }];
    });
  }

  chunksOf(first: number, last: number): RefChunk[] {
    const chunks: RefChunk[] = [];
    for (let c = first; c <= last; c++) {
      const chunk = this.#reference.chunks.get(c);
      if (chunk !== undefined) chunks.push(chunk);
    }
    return chunks;
  }
}
