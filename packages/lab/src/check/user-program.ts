/** The program on the engine's own thread: its calls, and the turns of its event loop. */

import {
  COUNTED,
  type Dispatcher,
  type Done,
  GONE,
  type Invalidation,
  LEASE,
  type Leases,
  type MmuNotifier,
  type Owner,
  PAGE_BYTES,
  type Protocol,
  READ,
  restoreRequests,
  violated,
  WRITE,
} from "pinless/portable";
import { PTE_WRITE, VM_MAPPED, WRITEBACK } from "../model/tables.js";
import type { CallingThreads } from "./calling-threads.js";
import { type CaseContext, nameOfInvalidation } from "./context.js";
import { CONCERNED } from "./invalidation-ranges.js";
import type { Rules } from "./invariants.js";
import type { CheckKernel } from "./kernel.js";
import { areAlike } from "./scenario.js";
import * as S from "./state.js";

/** The world that the program acts on. */
export interface ProgramWorld {
  readonly ground: CaseContext;
  readonly rules: Rules;
  readonly kernel: CheckKernel;
  readonly protocol: Protocol;
  readonly threads: CallingThreads;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly dispatcher: Dispatcher;
  readonly handles: (Invalidation | undefined)[];
  starting: number;
  snapshot(): Int32Array;
  runMicrotasks(): void;
  nowMs(): number;
}

export class UserProgram {
  readonly #world: ProgramWorld;
  readonly #ground: CaseContext;
  readonly #owner: Owner;
  readonly #done: (request: number) => Done;
  /** For requests and invalidations that are alike: the one that has to come before, or -1. */
  readonly #requestBefore: readonly number[];
  readonly #invalidationBefore: readonly number[];
  readonly #readies: readonly (() => void)[];

  constructor(world: ProgramWorld, owner: Owner, done: (request: number) => Done) {
    this.#world = world;
    this.#ground = world.ground;
    this.#owner = owner;
    this.#done = done;
    const { requests, invalidations } = world.ground.scenario;
    this.#requestBefore = requests.map((request, i) => requests.slice(0, i).findLastIndex((r) => areAlike(r, request)));
    this.#invalidationBefore = invalidations.map((own, j) =>
      invalidations
        .slice(0, j)
        .findLastIndex(
          (o) =>
            o.event === own.event &&
            o.blockable === own.blockable &&
            o.first === own.first &&
            o.last === own.last &&
            o.awaits === own.awaits,
        ),
    );
    this.#readies = invalidations.map((_, j) => () => this.#ready(j));
  }

  maySubmit(request: number): boolean {
    const before = this.#requestBefore[request]!;
    const ground = this.#ground;
    return (
      ground.request(request, S.R_STATUS) === S.NOT_YET &&
      (before < 0 || ground.request(before, S.R_STATUS) !== S.NOT_YET) &&
      this.#world.dispatcher.requests.hasRoom
    );
  }

  submit(request: number): void {
    const ground = this.#ground;
    const { dispatcher } = this.#world;
    // All slots are alike, so a request takes the slot of its own number if there is one.
    restoreRequests(dispatcher.requests, request < dispatcher.requests.capacity ? request : -1);
    ground.setRequest(request, S.R_STATUS, S.ACCEPTED);
    const { write } = ground.scenario.requests[request]!;
    const location = ground.locations[request]!;
    if (
      !dispatcher.accept(
        write ? WRITE : READ,
        0,
        this.#owner,
        COUNTED,
        location,
        ground.blockOf(request) * PAGE_BYTES,
        this.#done(request),
      )
    )
      violated("STATE", "there's no room for a request");
  }

  mayCancel(request: number): boolean {
    const ground = this.#ground;
    const accepted = ground.request(request, S.R_STATUS) === S.ACCEPTED;
    return ground.w[S.CANCELS]! > 0 && accepted && ground.request(request, S.R_CANCELLED) === 0;
  }

  cancel(request: number): void {
    this.#ground.w[S.CANCELS]!--;
    this.#ground.setRequest(request, S.R_CANCELLED, 1);
    this.#world.dispatcher.cancel(this.#ground.locations[request]!.buffer);
  }

  mayStart(invalidation: number): boolean {
    const before = this.#invalidationBefore[invalidation]!;
    const ground = this.#ground;
    return (
      ground.invalidation(invalidation, S.I_STATE) === S.NOT_STARTED &&
      (before < 0 || ground.invalidation(before, S.I_STATE) !== S.NOT_STARTED)
    );
  }

  start(invalidation: number): void {
    const ground = this.#ground;
    const world = this.#world;
    const { event, blockable } = ground.scenario.invalidations[invalidation]!;
    const range = ground.range(ground.pagesOf(invalidation));
    const ready = this.#readies[invalidation]!;
    world.starting = invalidation;
    if (blockable) {
      const handle = world.notifier.invalidateRangeStart(range, event, { ready });
      world.handles[invalidation] = handle;
      ground.setInvalidation(invalidation, S.I_STATE, S.WAITING);
    } else {
      const free = this.#isFree(invalidation);
      const before = world.snapshot();
      const handle = world.notifier.invalidateRangeStart(range, event, { ready, blockable: false });
      if (handle === "EAGAIN") {
        this.#vetoed(invalidation, free, before);
        return;
      }
      world.handles[invalidation] = handle;
      ground.setInvalidation(invalidation, S.I_STATE, S.BEGUN);
      if (!free)
        violated("BALANCED_VETO", `${nameOfInvalidation(invalidation)} may not wait, and begins over what is in use`);
    }
    world.dispatcher.nudge();
  }

  #vetoed(invalidation: number, free: boolean, before: Int32Array): void {
    const name = nameOfInvalidation(invalidation);
    this.#ground.tell?.(`${name} is refused`);
    if (free) violated("BALANCED_VETO", `${name} is refused, though nothing is in its way`);
    const after = this.#world.snapshot();
    if (before.some((word, i) => word !== after[i]))
      violated("BALANCED_VETO", `the refusal of ${name} has changed something`);
    this.#ground.setInvalidation(invalidation, S.I_STATE, S.REFUSED);
  }

  #isFree(invalidation: number): boolean {
    const ground = this.#ground;
    const { event } = ground.scenario.invalidations[invalidation]!;
    const { first, last } = ground.chunksOf(invalidation);
    for (let j = 0; j < this.#world.handles.length; j++) {
      const state = ground.invalidation(j, S.I_STATE);
      const other = ground.chunksOf(j);
      if (state >= S.WAITING && state <= S.BEGUN && other.first <= last && first <= other.last) return false;
    }
    const { chunkPages, requests } = ground.scenario;
    const concern = CONCERNED[event];
    const inTheWay = requests.some((request, i) => {
      if (Math.floor(request.last / chunkPages) < first || last < Math.floor(request.first / chunkPages)) return false;
      const held = this.#world.rules.isHeld(i);
      return (
        held ||
        (this.#world.rules.requests.isSubmitted(i) && (request.write ? concern.deviceReads : concern.deviceWrites))
      );
    });
    if (inTheWay) return false;
    for (let c = first; c <= last && concern.lease === "drop"; c++) if (ground.table.load(c, LEASE) > 0) return false;
    return true;
  }

  #ready(invalidation: number): void {
    const ground = this.#ground;
    this.#world.rules.ready(invalidation);
    ground.setInvalidation(invalidation, S.I_STATE, S.BEGUN);
    const { event, first, last } = ground.scenario.invalidations[invalidation]!;
    for (let page = first; page <= last; page++) {
      if (!this.#isMapped(page)) continue;
      const { machine } = ground;
      if (event === "PROTECTION_PAGE" && machine.tables.frameOf(page) >= 0) {
        // Writeback begins: the page is write-protected and must not change until it ends.
        machine.tables.setFlags(page, 0, PTE_WRITE);
        machine.frames.setFrameFlags(machine.tables.frameOf(page), WRITEBACK);
      }
      if (event === "EXCLUSIVE" && (ground.page(page, S.P_FLAGS) & S.IS_READ_ONLY) === 0) {
        machine.memory.store(page, ground.storedBy(invalidation));
        ground.setContent(page, ground.storedBy(invalidation));
      }
    }
  }

  #isMapped(page: number): boolean {
    return this.#ground.machine.tables.is(page, VM_MAPPED);
  }

  /** True if the operation is a discard that waits for the monitor, as all discards of followed memory do. */
  #isFollowed(invalidation: number): boolean {
    const { foreign, invalidations } = this.#ground.scenario;
    return foreign.length > 0 && invalidations[invalidation]!.event === "CLEAR";
  }

  mayOperate(invalidation: number): boolean {
    const ground = this.#ground;
    const begun = ground.invalidation(invalidation, S.I_STATE) === S.BEGUN;
    const mayCall = begun && this.#isFollowed(invalidation) && ground.w[S.OPERATING] === 0;
    return mayCall && this.#knowsUnmaps(invalidation);
  }

  operate(invalidation: number): void {
    this.#world.rules.operating(invalidation);
    this.#world.threads.operate(invalidation);
  }

  /**
   * True if all announced unmaps of its range are known, which memory-operations.ts waits for before each operation.
   */
  #knowsUnmaps(invalidation: number): boolean {
    const { scenario, w } = this.#ground;
    if (scenario.foreign.length === 0) return true;
    const reading = w[S.READING]!;
    const knows = this.#world.protocol.gate.knowsUnmaps(this.#ground.range(this.#ground.pagesOf(invalidation)));
    w[S.READING] = reading;
    return knows;
  }

  mayFinish(invalidation: number): boolean {
    const ground = this.#ground;
    if (ground.invalidation(invalidation, S.I_STATE) !== S.BEGUN) return false;
    const { awaits } = ground.scenario.invalidations[invalidation]!;
    if (awaits >= 0 && ground.request(awaits, S.R_STATUS) !== S.ANSWERED) return false;
    if (this.#isFollowed(invalidation)) return this.#world.threads.hasOperated(invalidation);
    return this.#knowsUnmaps(invalidation);
  }

  /** Does the operation of an invalidation, and ends it. */
  finish(invalidation: number): void {
    const ground = this.#ground;
    const { first, last, event } = ground.scenario.invalidations[invalidation]!;
    if (this.#isFollowed(invalidation)) ground.w[S.OPERATING] = 0;
    else this.#world.rules.operating(invalidation);
    for (let page = first; page <= last; page++) if (this.#isMapped(page)) this.#operateOn(invalidation, page);
    const handle = this.#world.handles[invalidation]!;
    if (event === "PROTECTION_VMA")
      this.#world.notifier.invalidateRangeEnd(handle, [{ range: ground.range({ first, last }), readOnly: true }]);
    else this.#world.notifier.invalidateRangeEnd(handle);
  }

  #operateOn(invalidation: number, page: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    switch (ground.scenario.invalidations[invalidation]!.event) {
      case "UNMAP":
        machine.memory.munmap(page);
        this.#world.rules.requests.taken({ first: page, last: page }, "before");
        ground.flag(page, S.GONE_KNOWN);
        break;
      case "CLEAR":
        machine.memory.discard(page);
        this.#world.rules.requests.taken({ first: page, last: page }, "before");
        break;
      case "MIGRATE":
        this.#migrate(invalidation, page);
        break;
      case "PROTECTION_VMA":
        machine.memory.protect(page, "read");
        ground.flag(page, S.IS_READ_ONLY);
        break;
      case "PROTECTION_PAGE":
        if (machine.tables.frameOf(page) >= 0) machine.frames.setFrameFlags(machine.tables.frameOf(page), 0, WRITEBACK);
        break;
      case "SOFT_DIRTY":
        machine.memory.clearSoftDirty(page);
        ground.flag(page, S.TRACKED);
        break;
      case "RELEASE":
        ground.flag(page, S.IS_REFUSED);
        break;
      case "EXCLUSIVE":
        break;
    }
  }

  /** Moves a page. Only a pin without a tag, of a per-io request, may make that fail. */
  #migrate(invalidation: number, page: number): void {
    const { machine, scenario } = this.#ground;
    if (machine.memory.migrate(page) === 0) return;
    const releasing = scenario.requests.some(
      (r, i) => r.first <= page && page <= r.last && this.#world.kernel.isReleasing(i),
    );
    if (!releasing)
      violated("REVOKED_MEANS_REVOKED", `${nameOfInvalidation(invalidation)} can't move page ${page}: it's pinned`);
  }

  get mayRunMicrotasks(): boolean {
    return this.#ground.w[this.#ground.at.microtasks]! > 0;
  }

  /** True if the loop has no microtask left to run. */
  get isFree(): boolean {
    return !this.mayRunMicrotasks;
  }

  get mayRunSoon(): boolean {
    return this.isFree && this.#ground.w[this.#ground.at.soon]! > 0;
  }

  get mayWake(): boolean {
    return this.isFree && this.#ground.w[S.WAKE] === 1;
  }

  wake(): void {
    this.#ground.w[S.WAKE] = 0;
    this.#world.dispatcher.turns.turnOfLoop();
    this.#world.runMicrotasks();
  }

  /** True if a tick of the engine's clock would have an effect: a lease is due or to be freed, or the clock is late. */
  get mayTick(): boolean {
    if (!this.isFree) return false;
    const { leases } = this.#world;
    if (this.#ground.w[S.STALLED] === 1) return true;
    for (let slot = 0; slot < this.#ground.slots; slot++) if (leases?.table.state(slot) === GONE) return true;
    return false;
  }

  /** Ticks the engine's clock, which runs while a lease is held. */
  tick(): void {
    const { leases, dispatcher, rules } = this.#world;
    this.#ground.w[S.STALLED] = 0;
    if (leases === null || leases.held === 0) return;
    rules.clock = true;
    try {
      leases.tick(this.#world.nowMs());
    } finally {
      rules.clock = false;
    }
    dispatcher.nudge();
    this.#world.runMicrotasks();
  }
}
