/** Scheme on the model's ring that also checks when leases are taken: only when they pay, and after a chunk's rest. */

import { CHUNK_WORDS, type LeaseLanes, PAGE_BYTES, violated } from "pinless/portable";
import type { Machine } from "../model/machine.js";
import { ModelScheme, type ModelSchemeOptions } from "../model/model-scheme.js";

/** Size of the smallest possible chunk. */
const PIECE_BYTES = 65536;
/** In tables of more chunks, the pages that went per-io must have paid for a lease before it's taken. */
const MANY_CHUNKS = 128;
/** Error of the engine's times, which are whole milliseconds, at both ends of a rest. */
const ROUNDED_MS = 2;

export interface LeaseTerms {
  /** `lease.max`; Infinity if it's the default, which grows. */
  readonly maxMs: number;
  /** Pages that must have gone per-io on a chunk before its lease, in a table of many chunks. */
  readonly costPages: number;
  /** Lanes of the leases, if they're written. */
  readonly lanes: LeaseLanes | null;
}

interface Held {
  readonly address: number;
  readonly sinceMs: number;
}

export class JudgedScheme extends ModelScheme {
  readonly #clock: { readonly nowMs: number };
  readonly #terms: LeaseTerms;
  readonly #held = new Map<number, Held>();
  /** End of the rest of each chunk in milliseconds of the clock, by the chunk's address. */
  readonly #rests = new Map<number, number>();
  /** Number of pages that went without a lease, by piece, in tables of many chunks. */
  readonly #missed = new Map<number, number>();

  constructor(machine: Machine, options: ModelSchemeOptions, terms: LeaseTerms) {
    super(machine, options);
    this.#clock = machine.clock;
    this.#terms = terms;
  }

  override prepare(...request: Parameters<ModelScheme["prepare"]>): void {
    const [, , , location, , bufferSlot] = request;
    if (bufferSlot < 0 && location.words.length > MANY_CHUNKS * CHUNK_WORDS) {
      const piece = Math.floor(location.address / PIECE_BYTES);
      this.#missed.set(piece, (this.#missed.get(piece) ?? 0) + Math.ceil(location.bytes / PAGE_BYTES));
    }
    super.prepare(...request);
  }

  override take(slot: number, address: number, bytes: number): number {
    const { nowMs } = this.#clock;
    const untilMs = this.#rests.get(address) ?? 0;
    if (nowMs < untilMs) violated("BOUNDED_RESIDENCY", `a chunk is leased that rests for ${untilMs - nowMs} ms more`);
    let missed: number | undefined;
    for (let at = address; at < address + bytes; at += PIECE_BYTES) {
      const pages = this.#missed.get(Math.floor(at / PIECE_BYTES));
      if (pages !== undefined) missed = (missed ?? 0) + pages;
    }
    const { costPages } = this.#terms;
    if (missed !== undefined && missed < costPages)
      violated("BUDGET", `a lease that costs ${costPages} pages is taken after ${missed} went without`);
    const result = super.take(slot, address, bytes);
    if (result < 0) return result;
    this.#held.set(slot, { address, sinceMs: nowMs });
    this.#terms.lanes?.taken(slot, address, bytes);
    return result;
  }

  override drop(slot: number): number {
    const held = this.#held.get(slot);
    this.#held.delete(slot);
    const { maxMs, lanes } = this.#terms;
    const { nowMs } = this.#clock;
    if (held !== undefined) {
      lanes?.dropped(slot);
      lanes?.ended(slot);
    }
    if (held !== undefined && nowMs - held.sinceMs >= maxMs + ROUNDED_MS)
      this.#rests.set(held.address, nowMs + (maxMs >> 4) - ROUNDED_MS);
    return super.drop(slot);
  }

  override costPages(): number {
    return this.#terms.costPages;
  }
}
