// Those who change memory: by the notifier, or from outside, with no more than an announcement.
import assert from "node:assert/strict";
import type { MmuEvent } from "../../../dist/protocol/events.js";
import type { Gate } from "../../../dist/protocol/gate.js";
import type { Invalidation, MmuNotifier, Protection, Subscriber } from "../../../dist/protocol/notifier.js";
import type { Range } from "../../../dist/protocol/ranges/ranges.js";
import type { Arenas } from "./arenas.js";
import type { Judge } from "./judge.js";
import { CHUNK, type Kernel, PAGE } from "./kernel.js";
import type { Change } from "./operations.js";
import { chunkOf, type RefChunk, type Reference, type RefInvalidation } from "./reference.js";

/** A discard by other code. */
interface Foreign {
  state: "announced" | "unsettled" | "happened";
  readonly range: Range;
  chunks: RefChunk[];
}

export interface Started {
  readonly ref: RefInvalidation;
  /** What `invalidateRangeStart` answered. */
  handle: Invalidation | null;
  /** What a subscriber is told of. */
  known: Invalidation | null;
  /** Calls of `ready`. */
  begun: number;
  readonly foreign: Foreign | null;
  readonly ended: () => void;
}

export interface Plan {
  readonly blockable: boolean;
  readonly ready: () => void;
  readonly foreign?: Foreign;
  readonly ended?: () => void;
}

export class Invalidations implements Subscriber {
  readonly started: Started[] = [];
  readonly foreign: Foreign[] = [];
  readonly #judge: Judge;
  readonly #kernel: Kernel;
  readonly #reference: Reference;
  readonly #notifier: MmuNotifier;
  readonly #gate: Gate;
  readonly #arenas: Arenas;
  /** Everything that a refusal leaves as it was. */
  readonly #state: () => unknown;
  #ending: Started | null = null;
  /** What the one that is ending has changed. */
  #protections: readonly Protection[] = [];

  constructor(
    judge: Judge,
    kernel: Kernel,
    reference: Reference,
    notifier: MmuNotifier,
    gate: Gate,
    arenas: Arenas,
    state: () => unknown,
  ) {
    this.#judge = judge;
    this.#kernel = kernel;
    this.#reference = reference;
    this.#notifier = notifier;
    this.#gate = gate;
    this.#arenas = arenas;
    this.#state = state;
    // Its range starts before all others, so it's told of turns and ends first.
    notifier.insert({ start: 0, end: 2 ** 47 }, this);
  }

  isQuiet(): boolean {
    return true;
  }

  holds(): boolean {
    return false;
  }

  stop(invalidation: Invalidation): number {
    const started = this.started.find(
      ({ known, ref }) => known === invalidation || (known === null && isOf(invalidation, ref)),
    )!;
    started.known = invalidation;
    this.#reference.turn(started.ref);
    return 0;
  }

  resume(invalidation: Invalidation): void {
    assert.equal(this.#ending?.known, invalidation);
    this.#reference.end(this.#ending!.ref, this.#protections);
  }

  start(event: MmuEvent, range: Range, plan: Plan): void {
    const [first, last] = [chunkOf(range.start), chunkOf(range.end - 1)];
    const { ending } = this.#reference;
    if (!plan.blockable && ending !== null && ending.first <= last && first <= ending.last) return;
    if (!plan.blockable && !this.#reference.isFree(event, first, last)) {
      const before = this.#state();
      const answer = this.#notifier.invalidateRangeStart(range, event, { blockable: false });
      this.#judge.require("BALANCED_VETO", answer === "EAGAIN", () => `${event} on ${first}–${last} isn't refused`);
      assert.deepEqual(this.#state(), before, "BALANCED_VETO: a refusal changes something");
      return;
    }
    const ref = this.#reference.start(event, first, last);
    const { foreign = null, ended = (): void => {} } = plan;
    const started: Started = { ref, handle: null, known: null, begun: 0, foreign, ended };
    this.started.push(started);
    const ready = (): void => {
      this.#ready(started);
      plan.ready();
    };
    const answer = plan.blockable
      ? this.#notifier.invalidateRangeStart(range, event, { ready })
      : this.#notifier.invalidateRangeStart(range, event, { ready, blockable: false });
    this.#judge.require("BALANCED_VETO", answer !== "EAGAIN", () => `${event} on ${first}–${last} is refused`);
    started.handle = answer;
    started.known = answer;
  }

  #ready(started: Started): void {
    started.begun++;
    const { ref } = started;
    const say = (what: string) => (): string => `${ref.event} on ${ref.first}–${ref.last} ${what}`;
    const left = [...ref.requests].map(({ id }) => id);
    this.#judge.require("STATE", started.begun === 1, say("begins twice"));
    this.#judge.require("EXCLUSION", left.length === 0, say(`begins with ${left} in flight`));
    this.#judge.require("REVOKED_MEANS_REVOKED", ref.leases.size === 0, say("begins before its leases are gone"));
    this.#judge.require("STATE", ref.state === "begun", say(`begins in state ${ref.state}`));
  }

  /** Those that may be ended by whoever began them. */
  begun(): Started[] {
    return this.started.filter(({ begun, handle, foreign }) => begun > 0 && handle !== null && foreign === null);
  }

  end(started: Started, changes: readonly Change[] | null = null): void {
    const { ref, foreign } = started;
    for (const chunk of foreign === null ? this.#arenas.chunksOf(ref.first, ref.last) : []) {
      if (ref.event === "UNMAP") this.#reference.replacePages(chunk, "unmapped");
      if (ref.event === "CLEAR") this.#reference.replacePages(chunk, "discarded");
      if (ref.event === "MIGRATE") this.#reference.replacePages(chunk, "moved");
    }
    const whole = { start: ref.first * CHUNK, end: (ref.last + 1) * CHUNK };
    const protections = changes?.map(({ page, pages, readOnly }) => {
      const start = whole.start + ((page * PAGE) % (whole.end - whole.start));
      return { range: { start, end: Math.min(start + pages * PAGE, whole.end) }, readOnly };
    });
    this.#protections = ref.event !== "PROTECTION_VMA" ? [] : (protections ?? [{ range: whole, readOnly: true }]);
    this.started.splice(this.started.indexOf(started), 1);
    this.#ending = started;
    this.#notifier.invalidateRangeEnd(started.handle!, protections);
    started.ended();
  }

  /** A discard by other code is announced. */
  announce(range: Range): void {
    const foreign: Foreign = { state: "announced", range, chunks: [] };
    this.foreign.push(foreign);
    this.start("CLEAR", range, { blockable: true, ready: () => {}, foreign });
  }

  /** The next step of one: it's read, so that it may happen; it happens; its caller has left. */
  advance(foreign: Foreign): void {
    if (foreign.state === "announced") this.#read(foreign);
    else if (foreign.state === "unsettled") this.#happen(foreign);
    else {
      this.foreign.splice(this.foreign.indexOf(foreign), 1);
      for (const chunk of foreign.chunks) chunk.unsettledBy.delete(foreign);
      this.#gate.settle(foreign.range);
    }
  }

  #read(foreign: Foreign): void {
    const started = this.started.find((s) => s.foreign === foreign)!;
    if (started.begun === 0 || started.handle === null) return;
    foreign.state = "unsettled";
    const { start, end } = foreign.range;
    foreign.chunks = this.#arenas
      .chunksOf(started.ref.first, started.ref.last)
      .filter(({ number, bytes }) => start < number * CHUNK + bytes && number * CHUNK < end);
    for (const chunk of foreign.chunks) chunk.unsettledBy.add(foreign);
    this.#gate.unsettle(foreign.range);
    this.end(started);
  }

  #happen(foreign: Foreign): void {
    foreign.state = "happened";
    for (const chunk of foreign.chunks) {
      const pinned = this.#kernel.table.some((registration) => registration?.pages === chunk.pages);
      this.#judge.require("NO_STALE_IO", !pinned, () => `chunk ${chunk.number} is pinned while other code discards it`);
      if (!chunk.unmapped) this.#reference.replacePages(chunk, "discarded", true);
    }
  }
}

function isOf({ event, range }: Invalidation, { event: other, first, last }: RefInvalidation): boolean {
  return event === other && chunkOf(range.start) === first && chunkOf(range.end - 1) === last;
}
