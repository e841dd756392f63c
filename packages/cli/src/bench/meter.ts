/** Counts the requests of a load, chooses their positions, and times and verifies a sample of them. */

import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { isNumbered } from "./numbered.js";
import type { LatencyFigures } from "./report-schema.js";
import type { Target } from "./worker-protocol.js";

export const IN_FLIGHT = 32;
/**
 * Interval of the sample, since measuring every small request would cost as much as the request. It's a prime, to avoid
 * patterns.
 */
const SAMPLE_EVERY = 7;

export class Meter {
  completed = 0;
  readsChecked = 0;
  readsLost = 0;
  readonly #blocks: number;
  readonly #requestBytes: number;
  readonly #numbered: boolean;
  readonly #latency: RecordableHistogram;
  readonly #words: Uint32Array[];
  readonly #positions = new Float64Array(IN_FLIGHT);
  /** Start times; 0 for a request outside of the sample. */
  readonly #startedMs = new Float64Array(IN_FLIGHT);
  #untilSample = SAMPLE_EVERY;
  #random = 0x9e3779b9;

  constructor(target: Target, requestBytes: number, buffers: readonly Uint8Array[], latency: RecordableHistogram) {
    this.#blocks = Math.floor(target.bytes / requestBytes);
    this.#requestBytes = requestBytes;
    this.#numbered = target.numbered;
    this.#latency = latency;
    this.#words = buffers.map((b) => new Uint32Array(b.buffer, b.byteOffset, b.byteLength / 4));
  }

  /** Begins a request; returns its position. */
  next(slot: number): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    const position = ((x >>> 0) % this.#blocks) * this.#requestBytes;
    this.#positions[slot] = position;
    if (--this.#untilSample === 0) {
      this.#untilSample = SAMPLE_EVERY;
      this.#startedMs[slot] = performance.now();
    } else this.#startedMs[slot] = 0;
    return position;
  }

  /** Position of a slot's request. */
  positionOf(slot: number): number {
    return this.#positions[slot]!;
  }

  /** Ends a request. */
  ended(slot: number): void {
    this.completed++;
    const startedMs = this.#startedMs[slot]!;
    if (startedMs === 0) return;
    this.#latency.record(Math.max(1, Math.round((performance.now() - startedMs) * 1e6)));
    if (!this.#numbered) return;
    this.readsChecked++;
    if (!isNumbered(this.#words[slot]!, this.#positions[slot]!)) this.readsLost++;
  }

  /** Discards the figures so far, which were warm-up. */
  reset(): void {
    this.completed = 0;
    this.readsChecked = 0;
    this.readsLost = 0;
  }
}

export function newLatency(): RecordableHistogram {
  return createHistogram({ figures: 3 });
}

export function latencyFigures(histogram: RecordableHistogram): LatencyFigures {
  const us = (percentile: number): number => Math.round(histogram.percentile(percentile) / 100) / 10;
  return { samples: histogram.count, p50Us: us(50), p99Us: us(99), p999Us: us(99.9) };
}
