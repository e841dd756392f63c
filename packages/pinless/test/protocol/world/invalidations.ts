// Changes of memory: by the notifier, or by other code, which the monitor only announces.
import assert from "node:assert/strict";
import type { MmuEvent } from "../../../dist/protocol/events.js";
import type { ForeignCalls } from "../../../dist/protocol/foreign-calls.js";
import type { Invalidation, MmuNotifier, Subscriber } from "../../../dist/protocol/notifier.js";
import type { Protection } from "../../../dist/protocol/public-notifier.js";
import type { Range } from "../../../dist/protocol/ranges/ranges.js";
import type { Arenas, Chunks } from "./arenas.js";
import type { Judge } from "./judge.js";
import { CHUNK, type Kernel, PAGE } from "./kernel.js";
import type { Change } from "./operations.js";
import { chunkOf, type RefChunk, type Reference, type RefInvalidation } from "./reference.js";

/** A discard by other code: its thread waits until the monitor has read its event, and the pages go after that. */
interface Foreign {
  /** The monitor's number of the start that it has asked for. */
  readonly id: number;
  readonly chunks: readonly RefChunk[];
  state: "asked" | "read" | "happened";
  ready: boolean;
  readonly started: Started[];
}

export interface Started {
  readonly ref: RefInvalidation;
  /** Result of `invalidateRangeStart`. */
  handle: Invalidation | null;
  /** The invalidation that subscribers are notified of. */
  known: Invalidation | null;
  /** Number of calls of `ready`; null for other code's calls, several of which may share one. */
  begun: number | null;
  readonly ended: () => void;
}

export interface Plan {
  readonly blockable: boolean;
  readonly ready: () => void;
  readonly ended?: () => void;
}

export class Invalidations implements Subscriber {
  readonly started: Started[] = [];
  readonly foreign: Foreign[] = [];
  readonly #judge: Judge;
  readonly #kernel: Kernel;
  readonly #reference: Reference;
  readonly #notifier: MmuNotifier;
  readonly #calls: ForeignCalls;
  readonly #arenas: Arenas;
  /** Everything that a refusal leaves as it was. */
  readonly #state: () => unknown;
  #lastId = 0;
  /** Protections changed by the invalidation that is ending. */
  #protections: readonly Protection[] = [];

  constructor(
    judge: Judge,
    kernel: Kernel,
    reference: Reference,
    notifier: MmuNotifier,
    calls: ForeignCalls,
    arenas: Arenas,
    state: () => unknown,
  ) {
    this.#judge = judge;
    this.#kernel = kernel;
    this.#reference = reference;
    this.#notifier = notifier;
    this.#calls = calls;
    this.#arenas = arenas;
    this.#state = state;
    // Its range starts before all others, so its stop and resume run first.
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
    const at = this.started.findIndex(({ known }) => known === invalidation);
    const [{ ref }] = this.started.splice(at, 1) as [Started];
    this.#reference.end(ref, this.#protections);
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
    const { ended = (): void => {} } = plan;
    const started: Started = { ref, handle: null, known: null, begun: 0, ended };
    this.started.push(started);
    const ready = (): void => {
      started.begun!++;
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

  #ready({ ref, begun }: Started): void {
    const say = (what: string) => (): string => `${ref.event} on ${ref.first}–${ref.last} ${what}`;
    const left = [...ref.requests].map(({ id }) => id);
    this.#judge.require("STATE", begun === null || begun === 1, say("begins twice"));
    this.#judge.require("EXCLUSION", left.length === 0, say(`begins with ${left} in flight`));
    this.#judge.require("REVOKED_MEANS_REVOKED", ref.leases.size === 0, say("begins before its leases are gone"));
    this.#judge.require("STATE", ref.state === "begun", say(`begins in state ${ref.state}`));
  }

  /** Invalidations that have begun and can be ended. */
  begun(): Started[] {
    return this.started.filter(({ begun, handle }) => begun !== null && begun > 0 && handle !== null);
  }

  end(started: Started, changes: readonly Change[] | null = null): void {
    const { ref } = started;
    for (const chunk of this.#arenas.chunksOf(ref.first, ref.last)) {
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
    this.#notifier.invalidateRangeEnd(started.handle!, protections);
    started.ended();
  }

  /** Other code is about to discard a range: the monitor has it drained. */
  discard(range: Range): void {
    const parts = this.#arenas.partsOf(range);
    const chunks = parts.flatMap(({ first, last }) => this.#arenas.chunksOf(first, last));
    const foreign: Foreign = { id: ++this.#lastId, chunks, state: "asked", ready: false, started: [] };
    const covered = parts.length > 0 && parts.every((part) => this.#isCovered(part));
    for (const { first, last } of covered ? [] : joined(parts)) {
      const ref = this.#reference.start("CLEAR", first, last);
      foreign.started.push({ ref, handle: null, known: null, begun: null, ended: () => {} });
    }
    this.foreign.push(foreign);
    this.started.push(...foreign.started);
    const state = this.#calls.start(foreign.id, [range], () => {
      this.#judge.require("STATE", !foreign.ready, () => `the start ${foreign.id} is ready twice`);
      foreign.ready = true;
      for (const started of foreign.started) this.#ready(started);
    });
    for (const started of foreign.started)
      started.handle =
        started.known ?? this.#notifier.waiting.findLast((waiting) => isOf(waiting, started.ref)) ?? null;
    const states = foreign.started.map(({ ref }) => ref.state);
    const turn = states.includes("waiting") ? "turn" : states.includes("draining") ? "draining" : "begun";
    assert.equal(state, covered ? "covered" : turn, `what becomes of the start ${foreign.id}`);
    // Nothing is left to drain: what follows is an announcement's business.
    if (covered) this.foreign.pop();
  }

  /** Inside an invalidation of the program's that has begun. */
  #isCovered(part: Chunks): boolean {
    return this.started.some(
      ({ begun, ref: { state, first, last } }) =>
        begun !== null && state === "begun" && first <= part.first && part.last <= last,
    );
  }

  /** The next step of one: its event is read once all is drained, its pages go, its thread leaves the call. */
  advance(foreign: Foreign): void {
    if (foreign.state === "asked") foreign.state = foreign.ready ? "read" : "asked";
    else if (foreign.state === "read") this.#happen(foreign);
    else {
      this.foreign.splice(this.foreign.indexOf(foreign), 1);
      this.#protections = [];
      this.#calls.end(foreign.id);
    }
  }

  #happen(foreign: Foreign): void {
    foreign.state = "happened";
    for (const chunk of foreign.chunks) {
      const pinned = this.#kernel.table.some((registration) => registration?.pages === chunk.pages);
      this.#judge.require("NO_STALE_IO", !pinned, () => `chunk ${chunk.number} is pinned while its pages go`);
      if (!chunk.unmapped) this.#reference.replacePages(chunk, "discarded");
    }
  }
}

/** Joins neighbouring chunks, as one invalidation covers them, even of two arenas. */
function joined(parts: readonly Chunks[]): Chunks[] {
  const all: Chunks[] = [];
  for (const part of parts) {
    const before = all.at(-1);
    if (before !== undefined && before.last + 1 === part.first) all[all.length - 1] = { ...before, last: part.last };
    else all.push(part);
  }
  return all;
}

function isOf({ event, range }: Invalidation, { event: other, first, last }: RefInvalidation): boolean {
  return event === other && chunkOf(range.start) === first && chunkOf(range.end - 1) === last;
}
