/**
 * Dispatcher of the requests: accepts them into slots, asks the gate to admit them, hands them to the scheme, and calls
 * back when they have completed. A request that has to wait for memory is parked, without a slot.
 */

import {
  type Answer,
  BUSY,
  COUNTED,
  type Counting,
  DIRECT_WRITE,
  type Done,
  FEW_WAIT,
  NEVER_WAITS,
  type Owner,
  QUEUED,
  REFUSED_INVALID,
  REFUSED_UNSUPPORTED,
  WAITS,
  type WaitPolicy,
  WOULD_WAIT,
} from "./acceptance.js";
import { type Direction, READ, WRITE } from "./direction.js";
import { ECANCELED, EFAULT, EINVAL, EOPNOTSUPP } from "./errno.js";
import type { Gate } from "./gate.js";
import { FAULT, type GateVerdict, GO, WAIT } from "./gate-bits.js";
import { RWF } from "./how.js";
import type { Leases } from "./leases.js";
import type { MmuNotifier } from "./notifier.js";
import type { Parked } from "./parked-requests.js";
import { QuietWaiters } from "./quiet-waiters.js";
import type { Range } from "./ranges/ranges.js";
import {
  DIRECTION,
  FILE,
  FREE,
  HOW,
  LEASE,
  REQUEST_SHIFT,
  type RequestTable,
  STATE,
  SUBMITTED,
  UNREGISTERED,
} from "./request-table.js";
import type { BufferLocation, CompletionSink, Loop, Scheme } from "./scheme.js";
import { Turns } from "./turns.js";

export interface DispatcherParts {
  readonly scheme: Scheme;
  readonly loop: Loop;
  readonly requests: RequestTable;
  readonly gate: Gate;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  /** For `lifetime` only: returns the buffer slot in which the memory is registered, or -1. */
  readonly registered: ((location: BufferLocation) => number) | null;
}

export class Dispatcher implements CompletionSink {
  readonly requests: RequestTable;
  readonly #gate: Gate;
  readonly #scheme: Scheme;
  readonly #loop: Loop;
  readonly #leases: Leases | null;
  readonly #registered: DispatcherParts["registered"];
  /** Requests that wait for memory, or for a slot after that. */
  readonly #parked = new Set<Parked>();
  /** Number of parked requests with FEW_WAIT, which is limited. */
  private limited = 0;
  /** Parked requests that wait until the changes that the monitor has announced on their range are over. */
  private awaitingChanges: Parked[] = [];
  /** Parked requests that wait only for a slot. They get one before any new request. */
  private readonly ready: Parked[] = [];
  /** Memory operations that wait until all announced unmaps of their range are known. */
  readonly #unknown: { range: Range; run: () => void }[] = [];
  /** Slots and results of requests that failed before they began: each is answered in a microtask of its own. */
  private failing: number[] = [];
  readonly #quiet = new QuietWaiters();
  readonly #notifier: MmuNotifier;
  readonly turns: Turns;
  /** Called for each slot that becomes free, before the callback of its request; null if no call waits for a slot. */
  room: (() => void) | null = null;
  submitted = 0;
  completedOk = 0;
  failed = 0;
  /** Requests issued again per-io because their lease had just been dropped, so that the kernel refused them. */
  refusedAtImport = 0;
  perIo = 0;
  /** Device writes that were issued again, because the pages may have been discarded during the first attempt. */
  reissued = 0;

  constructor(parts: DispatcherParts) {
    this.#scheme = parts.scheme;
    this.#notifier = parts.notifier;
    this.#loop = parts.loop;
    this.#leases = parts.leases;
    this.#registered = parts.registered;
    this.requests = parts.requests;
    this.#gate = parts.gate;
    this.turns = new Turns(parts, this, () => this.active + this.#unknown.length + this.#notifier.waiting.length > 0);
    // The one that it waits for may be the monitor's, whose message alone doesn't keep the process alive.
    parts.notifier.waitsChanged = () => this.nudge();
  }

  /** Requests between acceptance and completion. */
  get active(): number {
    return this.requests.active + this.#parked.size;
  }

  /** Requests that wait for memory, or for a slot after that. */
  get parked(): ReadonlySet<Parked> {
    return this.#parked;
  }

  /** True if no further request with FEW_WAIT may wait for memory. */
  get isHeldFull(): boolean {
    return this.limited >= this.requests.capacity;
  }

  get isInTurn(): boolean {
    return this.turns.isInTurn;
  }

  /** Accepts a request if the answer is QUEUED. `done` is then called once, never before this method returns. */
  accept(
    direction: Direction,
    file: number,
    owner: Owner,
    counting: Counting,
    location: BufferLocation,
    position: number,
    done: Done,
    policy: WaitPolicy = WAITS,
    how = 0,
  ): Answer {
    const slot = this.requests.take();
    if (slot < 0) return BUSY;
    const { requests } = this;
    const at = slot << REQUEST_SHIFT;
    requests.words[at + DIRECTION] = direction;
    requests.words[at + FILE] = file;
    requests.words[at + HOW] = how;
    requests.position[slot] = position;
    requests.locations[slot] = location;
    requests.owners[slot] = owner;
    requests.dones[slot] = done;
    owner.active++;
    const directWrite = direction === WRITE && counting === COUNTED;
    if (directWrite) owner.directWrites++;
    requests.kinds[slot] = directWrite ? DIRECT_WRITE : 0;
    requests.cancelled[slot] = 0;
    this.submitted++;
    this.turns.nudge();
    if (this.#submit(slot, location, direction, policy)) return QUEUED;
    this.requests.vacate(slot);
    owner.active--;
    this.submitted--;
    return policy === NEVER_WAITS ? WOULD_WAIT : BUSY;
  }

  /** Schedules a turn, for work without a new request: to collect a dropped lease, for instance. */
  nudge(): void {
    this.turns.nudge();
  }

  /** Continues a parked request, once its file may be written directly and a slot is free. */
  goOn(parked: Parked): void {
    const { kind, cancelled, owner } = parked;
    if ((kind & DIRECT_WRITE) !== 0 && !cancelled && owner.enter !== undefined) owner.enter(() => this.#queue(parked));
    else this.#queue(parked);
  }

  #queue(parked: Parked): void {
    // This comes first because it reads the clock: the invalidation may have taken any time.
    this.nudge();
    if ((parked.kind & DIRECT_WRITE) !== 0) parked.owner.directWrites++;
    this.ready.push(parked);
    this.#unpark();
  }

  /** Gives free slots to the requests that wait only for one, in their order. */
  #unpark(): void {
    let letGo = false;
    while (this.ready.length > 0) {
      const slot = this.requests.take(this.ready[0]!.slot);
      if (slot < 0) break;
      const parked = this.ready.shift()!;
      this.requests.fill(slot, parked);
      this.#parked.delete(parked);
      if (parked.limited) this.limited--;
      if (!this.#quiet.isEmpty) this.#quiet.renamed(parked, slot);
      this.#submit(slot, parked.location, parked.direction, WAITS);
      // It's no longer held only now that it's counted in, so that the next invalidation waits for it all the time.
      if (!parked.held) continue;
      this.#gate.letGo(parked);
      letGo = true;
    }
    if (letGo) this.#notifier.heldHaveGone();
  }

  #park(slot: number, verdict: GateVerdict, limited: boolean): void {
    const parked = this.requests.recordOf(slot, limited);
    const { owner } = parked;
    this.requests.vacate(slot);
    this.#parked.add(parked);
    if (limited) this.limited++;
    if (!this.#quiet.isEmpty) this.#quiet.renamed(slot, parked);
    if (verdict === WAIT) this.#gate.hold(parked);
    else this.awaitingChanges.push(parked);
    if ((parked.kind & DIRECT_WRITE) !== 0 && owner.directWrites === 0) owner.becameIdle?.();
  }

  /** Gives a free slot to a parked request, or else to a call that waits for one. */
  #slotIsFree(): void {
    if (this.ready.length > 0) this.#unpark();
    if (this.room !== null) this.room();
  }

  /** Hands a request to the kernel, parks it or fails it; false if it would have to wait and mustn't. */
  #submit(slot: number, location: BufferLocation, direction: Direction, policy: WaitPolicy): boolean {
    if (this.requests.cancelled[slot] === 1) {
      this.#finishSoon(slot, -ECANCELED);
      return true;
    }
    const verdict = this.#gate.admit(slot, location, direction, this.turns.nowMs);
    if (verdict !== GO) return this.#keptOut(slot, verdict, policy);
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const leased = words[at + LEASE]!;
    const lease = this.#registered !== null && leased !== UNREGISTERED ? this.#registered(location) : leased;
    if (lease < 0) this.perIo++;
    this.#scheme.prepare(slot, direction, words[at + FILE]!, location, position[slot]!, lease, words[at + HOW]!);
    return true;
  }

  #keptOut(slot: number, verdict: GateVerdict, policy: WaitPolicy): boolean {
    if (verdict === FAULT) this.#finishSoon(slot, -EFAULT);
    else if (policy === NEVER_WAITS || (policy === FEW_WAIT && this.isHeldFull)) return false;
    else this.#park(slot, verdict, policy === FEW_WAIT);
    return true;
  }

  completed(slot: number, result: number): void {
    const location = this.requests.locations[slot]!;
    if (result === -EFAULT && this.#leases !== null && this.requests.get(slot, LEASE) >= 0) {
      if (this.requests.cancelled[slot] === 0) {
        this.refusedAtImport++;
        this.#again(slot, location);
        return;
      }
      result = -ECANCELED;
    }
    if ((result === -EINVAL || result === -EOPNOTSUPP) && this.#fallsBack(slot, location, result)) return;
    this.#gate.complete(slot, location);
    if (result >= 0 && this.#gate.isDoubtful(slot, location) && this.#mayGoAgain(slot)) {
      this.reissued++;
      this.#submitAgain(slot, location, READ);
    } else this.#finish(slot, location, result);
  }

  /** Sends a direct request that the filesystem has refused through the page cache; false if there is no such path. */
  #fallsBack(slot: number, location: BufferLocation, errno: number): boolean {
    const { words } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const file = this.requests.owners[slot]!.fallback?.handleFor(words[at + FILE]!) ?? -1;
    const isAtomic = (words[at + HOW]! & RWF.RWF_ATOMIC) !== 0;
    if (file === -1 || isAtomic || this.requests.cancelled[slot] === 1) return false;
    words[at + FILE] = file;
    this.requests.kinds[slot]! |= errno === -EINVAL ? REFUSED_INVALID : REFUSED_UNSUPPORTED;
    this.#again(slot, location);
    return true;
  }

  #fellBack(slot: number, owner: Owner): void {
    owner.fallback?.fellBack((this.requests.kinds[slot]! & REFUSED_INVALID) !== 0 ? -EINVAL : -EOPNOTSUPP);
  }

  #submitAgain(slot: number, location: BufferLocation, direction: Direction): void {
    this.#submit(slot, location, direction, WAITS);
    if (this.requests.get(slot, STATE) === FREE) this.#slotIsFree();
  }

  /** True for a device write with a position: issued again, it reads the same bytes of the file. */
  #mayGoAgain(slot: number): boolean {
    return this.requests.get(slot, DIRECTION) === READ && this.requests.position[slot]! >= 0;
  }

  /** Drops every lease, because the pages of any of them may be discarded. */
  dropLeases(): void {
    this.#leases?.dropAll();
    this.nudge();
  }

  /** Retries requests and operations that waited for announced changes, since some of those are over. */
  concluded(): void {
    for (const { range, run } of this.#unknown.splice(0)) this.whenKnown(range, run);
    if (this.awaitingChanges.length === 0) return;
    const waiting = this.awaitingChanges;
    this.awaitingChanges = [];
    for (const parked of waiting) this.goOn(parked);
  }

  /** Calls `run` once all announced unmaps of a range are known: at once if there is none. */
  whenKnown(range: Range, run: () => void): void {
    if (this.#gate.knowsUnmaps(range)) run();
    else this.#unknown.push({ range, run });
    // A turn decides if the process is kept alive.
    this.nudge();
  }

  /** Issues a request again that the scheme refused before the kernel began it. */
  refused(slot: number): void {
    if (this.requests.cancelled[slot] === 1) this.completed(slot, -ECANCELED);
    else this.#again(slot, this.requests.locations[slot]!, true);
  }

  /**
   * Issues a request again without its lease. A registered request fails with EFAULT, without having begun, only if the
   * monitor dropped the lease after the entry was written and before it was submitted.
   */
  #again(slot: number, location: BufferLocation, isRefused = false): void {
    if (this.#admittedAgain(slot, location)) return;
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const direction = words[at + DIRECTION] as Direction;
    const file = words[at + FILE]!;
    const how = words[at + HOW]!;
    if (isRefused) this.#scheme.prepareFallback!(slot, direction, file, location, position[slot]!, how);
    else this.#scheme.prepare(slot, direction, file, location, position[slot]!, -1, how);
  }

  /** Takes the lease from a request that hasn't begun. True: it was admitted anew, because a change was announced. */
  #admittedAgain(slot: number, location: BufferLocation): boolean {
    const { words } = this.requests;
    const at = slot << REQUEST_SHIFT;
    if (words[at + LEASE]! >= 0) this.perIo++;
    words[at + LEASE] = -1;
    // If the lease was dropped because the pages are being discarded, a per-io request would touch them.
    if (!this.#gate.isDoubtful(slot, location)) return false;
    this.#gate.complete(slot, location);
    this.#submitAgain(slot, location, this.requests.directionOf(slot));
    return true;
  }

  released(bufferSlot: number): void {
    this.#leases?.released(bufferSlot, this.turns.nowMs);
  }

  /** Fails a request in a microtask, since its callback mustn't run within `submit` or an invalidation's end. */
  #finishSoon(slot: number, result: number): void {
    this.failing.push(slot, result);
    this.#loop.microtask(this.#finishNext);
  }

  readonly #finishNext = (): void => {
    const [slot, result] = this.failing.splice(0, 2) as [number, number];
    this.#finish(slot, this.requests.locations[slot]!, result);
    // A turn decides if the process is kept alive: this may have been the last request.
    this.nudge();
  };

  #finish(slot: number, location: BufferLocation, result: number): void {
    const done = this.requests.dones[slot]!;
    const owner = this.requests.owners[slot]!;
    this.requests.vacate(slot);
    owner.active--;
    if (this.requests.kinds[slot]! > DIRECT_WRITE && result >= 0) this.#fellBack(slot, owner);
    if (result < 0) this.failed++;
    else this.completedOk++;
    // Only waiters registered before `done` are resolved: `done` may reuse the slot.
    const quiet = this.#quiet.isEmpty ? null : this.#quiet.ended(slot);
    // Before `done`, which may submit the next request: the slot goes to the call that has waited longest.
    this.#slotIsFree();
    try {
      done(result < 0 ? result : 0, result < 0 ? 0 : result, location.buffer);
    } catch (error) {
      this.#loop.uncaught(error);
    }
    if (owner.becameIdle !== null && (owner.active === 0 || owner.directWrites === 0)) owner.becameIdle();
    if (quiet !== null) for (const run of quiet) run();
  }

  /** Cancels a request, if the kernel can. It completes in any case; with ECANCELED if it hadn't begun. */
  cancel(buffer: ArrayBufferView): void {
    for (const parked of this.#parked) if (parked.location.buffer === buffer) parked.cancelled = true;
    const slot = this.requests.locations.findIndex((location) => location?.buffer === buffer);
    if (slot < 0) return;
    this.requests.cancelled[slot] = 1;
    if (this.requests.get(slot, STATE) === SUBMITTED) this.#scheme.cancel(slot);
    this.nudge();
  }

  /** Calls `run` once all requests on the range that were accepted before have ended: at once if there are none. */
  whenQuiet(range: Range, run: () => void): void {
    this.#quiet.add(this.requests, this.#parked, range, run);
  }
}
