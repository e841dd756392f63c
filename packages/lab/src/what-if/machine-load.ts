/** The program: threads that each keep a number of requests in flight, on random buffers. */

import { PAGE_BYTES } from "pinless/portable";
import type { NamedRandom, Stream } from "../model/random.js";
import { HUGE_PAGES } from "../model/tables.js";
import type { VirtualClock } from "../model/virtual-clock.js";
import { type Chunks, SWAPPED, TAKEN, UNDER_WRITEBACK } from "./chunks.js";
import { COSTS, HUGE_BYTES } from "./costs.js";
import type { Design } from "./designs.js";
import { Device } from "./device.js";
import { draw } from "./distributions.js";
import { Times } from "./latency-histogram.js";
import type { Plan } from "./plan.js";

export class Load {
  readonly latency = new Times();
  readonly writebackWaits = new Times();
  readonly slots: number;
  requests = 0;
  cpuUs = 0;
  swappedIn = 0;
  inFlight = 0;
  /** Pages that can't be moved: their sum over time, and their maximum. */
  pinnedPageMs = 0;
  pinnedPagesMost = 0;
  /** Called when a chunk was swapped in. */
  onSwappedIn: () => void = () => {};
  readonly #plan: Plan;
  readonly #chunks: Chunks;
  readonly #design: Design;
  readonly #clock: VirtualClock;
  readonly #places: Stream;
  readonly #kinds: Stream;
  readonly #swapIns: Stream;
  readonly #device: Device;
  readonly #active: number;
  readonly #requestUs: number;
  readonly #endMs: number;
  /**
   * For each slot: its chunk, whether the device writes memory, whether it's in flight, its start time, and the time
   * since which it waits for writeback (or -1).
   */
  readonly #chunkOf: Int32Array;
  readonly #writes: Uint8Array;
  readonly #going: Uint8Array;
  readonly #sinceMs: Float64Array;
  readonly #heldMs: Float64Array;
  readonly #waiters: (() => void)[][];
  readonly #freeAtMs: Float64Array;
  readonly #begun: (() => void)[];
  readonly #ended: (() => void)[];
  /** Requests that wait for a chunk, before they begin or before their data is copied. */
  readonly #held = new Map<number, number[]>();
  readonly #copies = new Map<number, number[]>();
  #notedMs = 0;

  constructor(plan: Plan, chunks: Chunks, design: Design, clock: VirtualClock, random: NamedRandom) {
    this.#plan = plan;
    this.#chunks = chunks;
    this.#design = design;
    this.#clock = clock;
    this.#places = random.stream("chunk");
    this.#kinds = random.stream("disk write");
    this.#swapIns = random.stream("swap-in µs");
    this.#device = new Device(plan.device, random.stream("device µs"));
    this.#active = plan.buffers.activeBytes / HUGE_BYTES;
    this.#endMs = plan.run.seconds * 1000;
    this.#requestUs = requestUs(plan);
    const { threads, depth } = plan.io;
    this.slots = threads * depth;
    this.#chunkOf = new Int32Array(this.slots);
    this.#writes = new Uint8Array(this.slots);
    this.#going = new Uint8Array(this.slots);
    this.#sinceMs = new Float64Array(this.slots);
    this.#heldMs = new Float64Array(this.slots).fill(-1);
    this.#waiters = Array.from({ length: this.slots }, () => []);
    this.#freeAtMs = new Float64Array(threads);
    this.#begun = Array.from({ length: this.slots }, (_, slot) => () => this.#toDevice(slot));
    this.#ended = Array.from({ length: this.slots }, (_, slot) => () => this.#end(slot));
  }

  get memoryBytes(): number {
    const arrays = [this.#chunkOf, this.#writes, this.#going, this.#sinceMs, this.#heldMs, this.#freeAtMs];
    return this.#device.memoryBytes + arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  begin(): void {
    for (let slot = 0; slot < this.slots; slot++) this.#submit(slot);
  }

  #submit(slot: number): void {
    this.#chunkOf[slot] = this.#places.below(this.#active);
    this.#writes[slot] = this.#kinds.chance(this.#plan.io.writeShare) ? 0 : 1;
    this.#sinceMs[slot] = this.#clock.nowMs;
    this.#admit(slot);
  }

  #admit(slot: number): void {
    const chunk = this.#chunkOf[slot]!;
    const chunks = this.#chunks;
    const writeback =
      this.#writes[slot] === 1 && this.#design.writebackHolds === "begin" && chunks.is(chunk, UNDER_WRITEBACK);
    if (writeback && this.#heldMs[slot]! < 0) this.#heldMs[slot] = this.#clock.nowMs;
    if (writeback || chunks.is(chunk, TAKEN)) {
      queue(this.#held, chunk, slot);
      return;
    }
    if (this.#heldMs[slot]! >= 0) {
      this.writebackWaits.record(this.#clock.nowMs - this.#heldMs[slot]!);
      this.#heldMs[slot] = -1;
    }
    if (chunks.is(chunk, SWAPPED)) this.#swapIn(chunk, slot);
    else this.#start(slot);
  }

  /** Swaps in a chunk. For simplicity all of it comes back at once, and other requests on it wait too. */
  #swapIn(chunk: number, slot: number): void {
    const chunks = this.#chunks;
    chunks.clear(chunk, SWAPPED);
    chunks.set(chunk, TAKEN);
    this.swappedIn++;
    this.onSwappedIn();
    queue(this.#held, chunk, slot);
    const us = draw(this.#plan.device.latencyUs, this.#swapIns) + COSTS.swapInPage.us * HUGE_PAGES;
    this.#clock.after(us / 1000, () => {
      chunks.clear(chunk, TAKEN);
      this.resume(chunk);
    });
  }

  #start(slot: number): void {
    const chunk = this.#chunkOf[slot]!;
    const chunks = this.#chunks;
    const deviceWrite = this.#writes[slot] === 1;
    this.notePins();
    const us = this.#requestUs + this.#design.begin(slot, chunk, deviceWrite, this.#clock.nowMs);
    chunks.usedMs[chunk] = this.#clock.nowMs;
    if (deviceWrite) chunks.deviceWrites[chunk]!++;
    else chunks.deviceReads[chunk]!++;
    this.#going[slot] = 1;
    this.inFlight++;
    const atMs = this.work(slot % this.#plan.io.threads, us);
    this.#clock.after(atMs - this.#clock.nowMs, this.#plan.device.inline ? this.#ended[slot]! : this.#begun[slot]!);
  }

  /** Occupies a thread's processor as soon as it's free. Returns the time of the end. */
  work(thread: number, us: number): number {
    const fromMs = Math.max(this.#clock.nowMs, this.#freeAtMs[thread]!);
    const atMs = fromMs + us / 1000;
    this.#freeAtMs[thread] = atMs;
    // Work after the end of the run isn't counted.
    this.cpuUs += atMs <= this.#endMs ? us : 1000 * Math.max(0, this.#endMs - fromMs);
    return atMs;
  }

  #toDevice(slot: number): void {
    const { nowMs } = this.#clock;
    this.#clock.after(this.#device.serve(nowMs, this.#plan.io.requestBytes) - nowMs, this.#ended[slot]!);
  }

  #end(slot: number): void {
    const chunk = this.#chunkOf[slot]!;
    const chunks = this.#chunks;
    const deviceWrite = this.#writes[slot] === 1;
    this.notePins();
    if (deviceWrite) chunks.deviceWrites[chunk]!--;
    else chunks.deviceReads[chunk]!--;
    this.#going[slot] = 0;
    this.inFlight--;
    this.#design.end(slot, chunk);
    for (const waiter of this.#waiters[slot]!.splice(0)) waiter();
    if (deviceWrite && this.#design.writebackHolds === "end" && chunks.is(chunk, UNDER_WRITEBACK)) {
      this.#heldMs[slot] = this.#clock.nowMs;
      queue(this.#copies, chunk, slot);
    } else this.#answer(slot);
  }

  #answer(slot: number): void {
    const { nowMs } = this.#clock;
    this.latency.record(nowMs - this.#sinceMs[slot]!);
    if (nowMs > this.#endMs) return;
    this.requests++;
    if (nowMs < this.#endMs) this.#submit(slot);
  }

  /** Lets the requests that wait for this chunk try again. */
  resume(chunk: number): void {
    const held = this.#held.get(chunk);
    this.#held.delete(chunk);
    for (const slot of held ?? []) this.#admit(slot);
  }

  /** Copies the data of requests that waited for the end of a range's writeback. */
  resumeCopies(chunk: number): void {
    const copies = this.#copies.get(chunk);
    this.#copies.delete(chunk);
    for (const slot of copies ?? []) {
      this.writebackWaits.record(this.#clock.nowMs - this.#heldMs[slot]!);
      this.#heldMs[slot] = -1;
      this.#answer(slot);
    }
  }

  /**
   * Runs `then` when the requests that are in flight on a chunk, and that the operation concerns, have ended. With
   * `one`, waits only for the first of them, because the operation is on a piece of the chunk.
   */
  whenEnded(chunk: number, deviceReadsToo: boolean, one: boolean, then: () => void): void {
    let left = 0;
    const ended = (): void => {
      if (--left === 0) then();
    };
    for (let slot = 0; slot < this.slots && !(one && left === 1); slot++) {
      if (this.#going[slot] === 0 || this.#chunkOf[slot] !== chunk) continue;
      if (!deviceReadsToo && this.#writes[slot] === 0) continue;
      left++;
      this.#waiters[slot]!.push(ended);
    }
    if (left === 0) then();
  }

  /** Adds up pins; called before their number may change. */
  notePins(): void {
    const { nowMs } = this.#clock;
    const pages = this.#design.pinnedPages();
    if (nowMs <= this.#endMs) {
      this.pinnedPageMs += pages * (nowMs - this.#notedMs);
      this.pinnedPagesMost = Math.max(this.pinnedPagesMost, pages);
    }
    this.#notedMs = Math.min(nowMs, this.#endMs);
  }
}

function requestUs({ io, device }: Plan): number {
  const { request, javascript, inlinePage, aio, direct } = COSTS;
  const scheme = { io_uring: 0, aio: aio.us, direct: direct.us }[io.scheme];
  return request.us + javascript.us + scheme + (device.inline ? (inlinePage.us * io.requestBytes) / PAGE_BYTES : 0);
}

function queue(map: Map<number, number[]>, chunk: number, slot: number): void {
  const waiting = map.get(chunk);
  if (waiting === undefined) map.set(chunk, [slot]);
  else waiting.push(slot);
}
