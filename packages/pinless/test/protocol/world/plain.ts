// The protocol over the deterministic kernel, without a reference: for tests that drive each step themselves.

import { COUNTED, type Owner } from "../../../dist/protocol/acceptance.js";
import { CHUNK_WORDS, ChunkTable } from "../../../dist/protocol/chunk-table.js";
import { type Direction, READ, WRITE } from "../../../dist/protocol/direction.js";
import type { Dispatcher } from "../../../dist/protocol/dispatcher.js";
import type { MmuEvent } from "../../../dist/protocol/events.js";
import type { ForeignCalls } from "../../../dist/protocol/foreign-calls.js";
import type { Gate } from "../../../dist/protocol/gate.js";
import type { Leases } from "../../../dist/protocol/leases.js";
import type { Invalidation, MmuNotifier } from "../../../dist/protocol/notifier.js";
import { Protocol } from "../../../dist/protocol/protocol.js";
import type { BufferLocation } from "../../../dist/protocol/scheme.js";
import { Judge } from "./judge.js";
import { CHUNK, Kernel, newPages, type Pages, type Watch } from "./kernel.js";
import { ManualLoop } from "./manual-loop.js";

export const START = 0x7f00_0000_0000;

const NO_WATCH: Watch = {
  prepared: () => {},
  imported: () => {},
  affecting: () => {},
  reaping: () => {},
  taking: () => {},
  taken: () => {},
  emptying: () => {},
};

export interface Answer {
  /** Null: not answered yet. */
  errno: number | null;
  bytes: number;
  calls: number;
}

export interface Submitted extends Answer {
  readonly id: number;
  readonly location: BufferLocation;
}

export interface Options {
  readonly depth?: number;
  /** 0: per-io. */
  readonly slots?: number;
  readonly chunks?: number;
  /** Every request goes by this slot, as with `pin: "lifetime"`. */
  readonly registered?: number;
}

/** A dispatcher with one arena of a few chunks. */
export class Plain {
  readonly loop = new ManualLoop();
  readonly owner: Owner = { active: 0, directWrites: 0, becameIdle: null };
  readonly kernel: Kernel;
  readonly protocol: Protocol;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  readonly foreign: ForeignCalls;
  /** For how long foreign calls were made to wait. */
  readonly waits: number[] = [];
  readonly table: ChunkTable;
  readonly index: number;
  /** The monitor's word. */
  readonly reading = new Int32Array(new SharedArrayBuffer(4));
  #next = 0;

  constructor({ depth = 16, slots = 4, chunks = 4, registered }: Options = {}) {
    const { loop } = this;
    const kernel = new Kernel(new Judge(), NO_WATCH, depth, slots);
    const pages = new Map<number, Pages>();
    kernel.pagesAt = (chunk) => {
      const found = pages.get(chunk) ?? newPages();
      pages.set(chunk, found);
      return found;
    };
    kernel.nowMs = () => loop.now;
    kernel.soon = (run) => loop.soon(run);
    this.kernel = kernel;
    const limits = { slots, budgetBytes: 1024 * CHUNK, idleMs: 50, maxMs: 1000 };
    this.protocol = new Protocol({
      scheme: kernel,
      loop,
      chunkBytes: CHUNK,
      leases: slots === 0 || registered !== undefined ? null : limits,
      reading: this.reading,
      counted: (waitedMs) => void this.waits.push(waitedMs),
      ...(registered === undefined ? {} : { registered: () => registered }),
    });
    const { notifier, leases, gate, dispatcher, foreign } = this.protocol;
    this.notifier = notifier;
    this.leases = leases;
    this.gate = gate;
    this.dispatcher = dispatcher;
    this.foreign = foreign;
    kernel.woken = dispatcher.turns.turnOfLoop;
    this.table = new ChunkTable({ start: START, end: START + chunks * CHUNK }, CHUNK);
    this.index = gate.addTable(this.table);
  }

  location(chunk: number, chunks = 1): BufferLocation {
    const address = START + chunk * CHUNK;
    return {
      buffer: new Uint8Array(1),
      address,
      addressLow: address | 0,
      addressHigh: Math.floor(address / 2 ** 32),
      bytes: chunks * CHUNK,
      table: this.index,
      words: this.table.words,
      firstAt: chunk * CHUNK_WORDS,
      lastAt: (chunk + chunks - 1) * CHUNK_WORDS,
    };
  }

  /** Submits a request for whole chunks; null if the dispatcher is busy. */
  submit(direction: Direction, chunk: number, { chunks = 1, after = (): void => {} } = {}): Submitted | null {
    const submitted: Submitted = {
      id: this.#next,
      location: this.location(chunk, chunks),
      errno: null,
      bytes: 0,
      calls: 0,
    };
    const done = (errno: number, bytes: number): void => {
      Object.assign(submitted, { errno, bytes, calls: submitted.calls + 1 });
      after();
    };
    if (!this.dispatcher.accept(direction, 0, this.owner, COUNTED, submitted.location, submitted.id, done)) return null;
    this.#next++;
    return submitted;
  }

  deviceRead(chunk: number, options: Parameters<Plain["submit"]>[2] = {}): Submitted {
    return this.submit(WRITE, chunk, options)!;
  }

  deviceWrite(chunk: number, options: Parameters<Plain["submit"]>[2] = {}): Submitted {
    return this.submit(READ, chunk, options)!;
  }

  start(event: MmuEvent, chunk: number, chunks = 1, ready: () => void = () => {}): Invalidation {
    const start = START + chunk * CHUNK;
    return this.notifier.invalidateRangeStart({ start, end: start + chunks * CHUNK }, event, { ready });
  }

  end(invalidation: Invalidation): void {
    this.notifier.invalidateRangeEnd(invalidation);
  }

  /** State of a request: with the kernel (by a lease or not), answered, or neither (held, or about to be answered). */
  where({ id, errno }: Submitted): "leased" | "per-io" | "out" | "answered" {
    if (errno !== null) return "answered";
    const issue = this.kernel.issues.find(({ request }) => request === id);
    if (issue === undefined) return "out";
    return issue.intended === null ? "per-io" : "leased";
  }

  /** Ends these requests, or all that are in flight, and lets the engine notice. */
  complete(...requests: Submitted[]): void {
    this.loop.runAll();
    const ids = requests.length > 0 ? requests.map(({ id }) => id) : this.kernel.inFlight.map(({ request }) => request);
    for (const id of ids) {
      this.kernel.complete(
        this.kernel.inFlight.findIndex(({ request }) => request === id),
        (bytes) => bytes,
      );
    }
    this.loop.runAll();
  }

  /** Lets all tags come that are due. */
  tags(): void {
    while (this.kernel.lateTags.length > 0) this.kernel.postTag(0);
    this.loop.runAll();
  }

  /** Gives a chunk a lease, fit for device writes. */
  lease(chunk: number): void {
    this.deviceWrite(chunk);
    const second = this.deviceWrite(chunk);
    if (this.where(second) !== "leased") throw new Error("no lease was taken");
    this.complete();
  }
}
