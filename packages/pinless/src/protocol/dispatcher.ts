/**
 * Requests on their way: accepted into a queue, let through the gate, handed to the kernel in batches, and answered. One turn does all of
 * it: submit what was queued in one call, reap, call back, submit what the callbacks queued, and so on. At most `TURN_COMPLETIONS` before
 * timers and sockets get their turn: without that limit a 1 ms timer ticked once in 2 s, with it 1,990 of 2,000 times.
 */

import {
  type Answer,
  BUSY,
  DIRECT_WRITE,
  type Done,
  FEW_WAIT,
  NEVER_WAITS,
  type Owner,
  type Patience,
  QUEUED,
  REFUSED_INVALID,
  REFUSED_UNSUPPORTED,
  SHUT,
  WAITS,
} from "./acceptance.js";
import { violated } from "./assert.js";
import { ECANCELED, EFAULT, EINVAL, EOPNOTSUPP } from "./errno.js";
import { FAULT, type Gate, type GateVerdict, GO, WAIT } from "./gate.js";
import type { Leases } from "./leases.js";
import type { MmuNotifier } from "./notifier.js";
import type { Parked } from "./parked-requests.js";
import { type Accepted, QuietWaiters } from "./quiet-waiters.js";
import { overlaps, type Range } from "./ranges/ranges.js";
import {
  FILE,
  FREE,
  LEASE,
  REQUEST_SHIFT,
  type RequestTable,
  STATE,
  SUBMITTED,
  UNREGISTERED,
  WRITE,
} from "./request-table.js";
import type { BufferLocation, CompletionSink, Loop, Scheme } from "./scheme.js";

export const TURN_COMPLETIONS = 256;

export interface DispatcherParts {
  readonly scheme: Scheme;
  readonly loop: Loop;
  readonly requests: RequestTable;
  readonly gate: Gate;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  /** `lifetime` only: the slot that memory was registered in for good, or -1. */
  readonly registered: ((location: BufferLocation) => number) | null;
}

export class Dispatcher implements CompletionSink {
  readonly requests: RequestTable;
  readonly #gate: Gate;
  readonly #scheme: Scheme;
  readonly #loop: Loop;
  readonly #leases: Leases | null;
  readonly #registered: DispatcherParts["registered"];
  private readonly owners: (Owner | undefined)[];
  private readonly kinds: Uint8Array;
  /** 1: ended by its owner. What the kernel hasn't begun by then never begins. */
  private readonly cancelled: Uint8Array;
  private readonly dones: (Done | undefined)[];
  /** Requests that wait for memory, or for a slot after that. */
  readonly #parked = new Set<Parked>();
  /** Of these, those of which only so many may. */
  private limited = 0;
  /** Those that wait until what the monitor has announced on their range is over. */
  private unsettled: Parked[] = [];
  /** Those that have waited long enough, and need nothing but a slot: each that becomes free is theirs. */
  private readonly ready: Parked[] = [];
  /** Operations that wait until it's known what of their range is unmapped. */
  readonly #unknown: { range: Range; run: () => void }[] = [];
  /** Those that failed before they began, and their results: each is answered by a microtask of its own. */
  private failing: number[] = [];
  readonly #quiet = new QuietWaiters();
  readonly #notifier: MmuNotifier;
  private nowMs = 0;
  private budget = TURN_COMPLETIONS;
  private scheduled = false;
  private inTurn = false;
  private alive = false;
  /** Set while somebody waits for a free slot; called with each one that becomes free, before whoever had it hears of its end. */
  room: (() => void) | null = null;
  submitted = 0;
  completedOk = 0;
  failed = 0;
  /** Requests that the kernel refused before they began since their lease had just been dropped, and that went per-io instead. */
  refusedAtImport = 0;
  perIo = 0;
  /** Device writes issued a second time, since the pages of the first may have been taken away under it. */
  reissued = 0;

  constructor(parts: DispatcherParts) {
    this.#scheme = parts.scheme;
    this.#notifier = parts.notifier;
    this.#loop = parts.loop;
    this.#leases = parts.leases;
    this.#registered = parts.registered;
    this.requests = parts.requests;
    this.#gate = parts.gate;
    const { capacity } = parts.requests;
    this.owners = new Array(capacity).fill(undefined);
    this.kinds = new Uint8Array(capacity);
    this.cancelled = new Uint8Array(capacity);
    this.dones = new Array(capacity).fill(undefined);
  }

  /** Requests between acceptance and completion. */
  get active(): number {
    return this.requests.active + this.#parked.size;
  }

  /** Those that wait for memory, or for a slot after that. */
  get parked(): ReadonlySet<Parked> {
    return this.#parked;
  }

  /** As many wait for memory as may of FEW_WAIT. */
  get isHeldFull(): boolean {
    return this.limited >= this.requests.capacity;
  }

  get isInTurn(): boolean {
    return this.inTurn;
  }

  /** Accepts a request, if the answer is QUEUED. `done` is called once, never in here. */
  accept(
    write: boolean,
    file: number,
    owner: Owner,
    direct: boolean,
    location: BufferLocation,
    position: number,
    done: Done,
    patience: Patience = WAITS,
  ): Answer {
    const slot = this.requests.take();
    if (slot < 0) return BUSY;
    const { words } = this.requests;
    const at = slot << REQUEST_SHIFT;
    words[at + WRITE] = write ? 1 : 0;
    words[at + FILE] = file;
    this.requests.position[slot] = position;
    this.requests.locations[slot] = location;
    this.owners[slot] = owner;
    this.dones[slot] = done;
    owner.active++;
    const directWrite = write && direct;
    if (directWrite) owner.directWrites++;
    this.kinds[slot] = directWrite ? DIRECT_WRITE : 0;
    this.cancelled[slot] = 0;
    this.submitted++;
    if (!this.inTurn) this.#wakeUp();
    if (this.#submit(slot, location, write, patience)) return QUEUED;
    this.#vacate(slot, owner);
    owner.active--;
    this.submitted--;
    return patience === NEVER_WAITS ? SHUT : BUSY;
  }

  /** A turn that another turn of the host's loop begins: a full budget. */
  readonly turnOfLoop = (): void => {
    this.budget = TURN_COMPLETIONS;
    this.turn();
  };

  readonly turn = (): void => {
    if (this.inTurn) return;
    this.inTurn = true;
    this.scheduled = false;
    this.nowMs = this.#loop.nowMs();
    try {
      this.#pump();
    } finally {
      this.inTurn = false;
    }
  };

  #pump(): void {
    for (;;) {
      const errno = this.#scheme.enter();
      if (errno < 0) violated("STATE", `the kernel refused a submission as a whole: errno ${-errno}`);
      if (this.budget <= 0) {
        this.#soon();
        return;
      }
      const reaped = this.#scheme.reap(this, this.budget);
      this.budget -= reaped;
      if (reaped === 0) break;
    }
    this.#leases?.collect(this.nowMs);
    const waiting = this.active > 0 || this.#leases?.uncollected === true || this.#unknown.length > 0;
    if (waiting && !this.#scheme.arm()) this.#soon();
    else this.#keepAlive(waiting);
  }

  #soon(): void {
    this.scheduled = true;
    this.#loop.soon(this.turnOfLoop);
  }

  #keepAlive(yes: boolean): void {
    if (this.alive === yes) return;
    this.alive = yes;
    this.#scheme.keepAlive(yes);
  }

  /** Something changed that a turn has to look at, with no request accepted: a lease on its way, say. */
  nudge(): void {
    if (!this.inTurn) this.#wakeUp();
  }

  #wakeUp(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.nowMs = this.#loop.nowMs();
    this.#loop.microtask(this.turn);
  }

  /** What it waited for is over: it goes once its file may be written, and a slot is free. */
  goOn(parked: Parked): void {
    const { kind, cancelled, owner } = parked;
    if ((kind & DIRECT_WRITE) !== 0 && !cancelled && owner.turn !== undefined) owner.turn(() => this.#queue(parked));
    else this.#queue(parked);
  }

  #queue(parked: Parked): void {
    // First: it looks at the clock, which may have gone on for as long as the invalidation took.
    this.nudge();
    if ((parked.kind & DIRECT_WRITE) !== 0) parked.owner.directWrites++;
    this.ready.push(parked);
    this.#unpark();
  }

  /** Gives slots to those that have waited for memory, in their order, as far as there are any. */
  #unpark(): void {
    let letGo = false;
    while (this.ready.length > 0) {
      const slot = this.requests.take(this.ready[0]!.slot);
      if (slot < 0) break;
      const parked = this.ready.shift()!;
      this.#occupy(slot, parked);
      this.#submit(slot, parked.location, parked.write, WAITS);
      // Only now that it's counted in: the next invalidation waits for it either way.
      if (!parked.held) continue;
      this.#gate.letGo(parked);
      letGo = true;
    }
    if (letGo) this.#notifier.heldHaveGone();
  }

  #occupy(slot: number, parked: Parked): void {
    const { write, file, owner, kind, location, position, done, cancelled, limited } = parked;
    const at = slot << REQUEST_SHIFT;
    this.requests.words[at + WRITE] = write ? 1 : 0;
    this.requests.words[at + FILE] = file;
    this.requests.position[slot] = position;
    this.requests.locations[slot] = location;
    this.owners[slot] = owner;
    this.dones[slot] = done;
    this.kinds[slot] = kind;
    this.cancelled[slot] = cancelled ? 1 : 0;
    this.#parked.delete(parked);
    if (limited) this.limited--;
    if (!this.#quiet.isEmpty) this.#quiet.renamed(parked, slot);
  }

  /** The request isn't in its slot any more, and doesn't count as a write of its file. */
  #vacate(slot: number, owner: Owner): void {
    this.dones[slot] = undefined;
    this.owners[slot] = undefined;
    this.requests.locations[slot] = undefined;
    this.requests.release(slot);
    if ((this.kinds[slot]! & DIRECT_WRITE) !== 0) owner.directWrites--;
  }

  #park(slot: number, verdict: GateVerdict, limited: boolean): void {
    const { words, position, locations } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const parked: Parked = {
      write: words[at + WRITE] === 1,
      file: words[at + FILE]!,
      owner: this.owners[slot]!,
      kind: this.kinds[slot]!,
      location: locations[slot]!,
      position: position[slot]!,
      done: this.dones[slot]!,
      slot,
      limited,
      cancelled: this.cancelled[slot] === 1,
      held: false,
    };
    const { owner } = parked;
    this.#vacate(slot, owner);
    this.#parked.add(parked);
    if (limited) this.limited++;
    if (!this.#quiet.isEmpty) this.#quiet.renamed(slot, parked);
    if (verdict === WAIT) this.#gate.hold(parked);
    else this.unsettled.push(parked);
    if ((parked.kind & DIRECT_WRITE) !== 0 && owner.directWrites === 0) owner.quiet?.();
  }

  /** A slot is free: for whoever has waited longest. */
  #slotIsFree(): void {
    if (this.ready.length > 0) this.#unpark();
    if (this.room !== null) this.room();
  }

  /** Hands it to the kernel, or sees to it that it goes later, or fails. False: it would have to wait for memory, and mustn't. */
  #submit(slot: number, location: BufferLocation, write: boolean, patience: Patience): boolean {
    if (this.cancelled[slot] === 1) {
      this.#finishSoon(slot, -ECANCELED);
      return true;
    }
    const verdict = this.#gate.admit(slot, location, write, this.nowMs);
    if (verdict !== GO) return this.#keptOut(slot, verdict, patience);
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const leased = words[at + LEASE]!;
    const lease = this.#registered !== null && leased !== UNREGISTERED ? this.#registered(location) : leased;
    if (lease < 0) this.perIo++;
    this.#scheme.prepare(slot, write, words[at + FILE]!, location, position[slot]!, lease);
    return true;
  }

  #keptOut(slot: number, verdict: GateVerdict, patience: Patience): boolean {
    if (verdict === FAULT) this.#finishSoon(slot, -EFAULT);
    else if (patience === NEVER_WAITS || (patience === FEW_WAIT && this.isHeldFull)) return false;
    else this.#park(slot, verdict, patience === FEW_WAIT);
    return true;
  }

  completed(slot: number, result: number): void {
    const location = this.requests.locations[slot]!;
    if (result === -EFAULT && this.#leases !== null && this.requests.get(slot, LEASE) >= 0) {
      if (this.cancelled[slot] === 0) {
        this.#refusedAtImport(slot, location);
        return;
      }
      result = -ECANCELED;
    }
    if ((result === -EINVAL || result === -EOPNOTSUPP) && this.#goesInstead(slot, location, result)) return;
    this.#gate.complete(slot, location);
    if (result >= 0 && this.#gate.isDoubtful(slot, location) && this.#mayGoAgain(slot)) {
      this.reissued++;
      this.#submitAgain(slot, location, false);
    } else this.#finish(slot, location, result);
  }

  /** A request that the filesystem has refused goes through the page cache, if it came around it. */
  #goesInstead(slot: number, location: BufferLocation, errno: number): boolean {
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const file = this.owners[slot]!.instead?.handleFor(words[at + FILE]!) ?? -1;
    if (file === -1 || this.cancelled[slot] === 1) return false;
    words[at + FILE] = file;
    this.kinds[slot]! |= errno === -EINVAL ? REFUSED_INVALID : REFUSED_UNSUPPORTED;
    if (!this.#admittedAgain(slot, location))
      this.#scheme.prepare(slot, words[at + WRITE] === 1, file, location, position[slot]!, -1);
    return true;
  }

  #wentInstead(slot: number, owner: Owner): void {
    owner.instead?.taken((this.kinds[slot]! & REFUSED_INVALID) !== 0 ? -EINVAL : -EOPNOTSUPP);
  }

  #submitAgain(slot: number, location: BufferLocation, write: boolean): void {
    this.#submit(slot, location, write, WAITS);
    if (this.requests.get(slot, STATE) === FREE) this.#slotIsFree();
  }

  /** Only a device write with a position: the same bytes of the file come again. */
  #mayGoAgain(slot: number): boolean {
    return this.requests.get(slot, WRITE) === 0 && this.requests.position[slot]! >= 0;
  }

  /** Whatever was registered may be of pages that are going. */
  dropLeases(): void {
    this.#leases?.dropAll();
    this.nudge();
  }

  /** Something that the monitor had announced is over: what waited for that asks again. */
  settled(): void {
    for (const { range, run } of this.#unknown.splice(0)) this.whenKnown(range, run);
    if (this.unsettled.length === 0) return;
    const waiting = this.unsettled;
    this.unsettled = [];
    for (const parked of waiting) this.goOn(parked);
  }

  /** Calls `run` once it's known what of a range other code has unmapped: at once if nothing is announced there. */
  whenKnown(range: Range, run: () => void): void {
    if (this.#gate.knowsUnmaps(range)) run();
    else this.#unknown.push({ range, run });
    // A turn decides what keeps the process alive.
    this.nudge();
  }

  /**
   * A registered request faults only where the registration itself isn't there: the monitor dropped the lease between the writing of the
   * entry and its submission. The kernel hadn't begun it, so this isn't a second issue.
   */
  #refusedAtImport(slot: number, location: BufferLocation): void {
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    this.refusedAtImport++;
    if (this.#admittedAgain(slot, location)) return;
    this.#scheme.prepare(slot, words[at + WRITE] === 1, words[at + FILE]!, location, position[slot]!, -1);
  }

  /** As at the import: the kernel hadn't begun it. */
  refused(slot: number): void {
    const { words, position, locations } = this.requests;
    const location = locations[slot]!;
    const at = slot << REQUEST_SHIFT;
    if (this.cancelled[slot] === 1) this.completed(slot, -ECANCELED);
    else if (!this.#admittedAgain(slot, location))
      this.#scheme.prepareAside!(slot, words[at + WRITE] === 1, words[at + FILE]!, location, position[slot]!);
  }

  /** A request that wasn't begun goes without its lease. True: something was announced on its range, so it waits for that first. */
  #admittedAgain(slot: number, location: BufferLocation): boolean {
    const { words } = this.requests;
    const at = slot << REQUEST_SHIFT;
    if (words[at + LEASE]! >= 0) this.perIo++;
    words[at + LEASE] = -1;
    // A lease was dropped since the pages go: where nothing may touch them any more, per-io would.
    if (!this.#gate.isDoubtful(slot, location)) return false;
    this.#gate.complete(slot, location);
    this.#submitAgain(slot, location, words[at + WRITE] === 1);
    return true;
  }

  released(bufferSlot: number): void {
    this.#leases?.released(bufferSlot, this.nowMs);
  }

  /** Not from inside whatever made it fail: the answer never comes within `submit` or an invalidation's end. */
  #finishSoon(slot: number, result: number): void {
    this.failing.push(slot, result);
    this.#loop.microtask(this.#finishNext);
  }

  readonly #finishNext = (): void => {
    const [slot, result] = this.failing.splice(0, 2) as [number, number];
    this.#finish(slot, this.requests.locations[slot]!, result);
    // A turn decides what keeps the process alive: this may have been the last request.
    this.nudge();
  };

  #finish(slot: number, location: BufferLocation, result: number): void {
    const done = this.dones[slot]!;
    const owner = this.owners[slot]!;
    this.#vacate(slot, owner);
    owner.active--;
    if (this.kinds[slot]! > DIRECT_WRITE && result >= 0) this.#wentInstead(slot, owner);
    if (result < 0) this.failed++;
    else this.completedOk++;
    // Before the slot is another's. Who asks from inside `done` doesn't mean this request any more.
    const quiet = this.#quiet.isEmpty ? null : this.#quiet.ended(slot);
    // And before `done`, which may ask for the next: first come, first served.
    this.#slotIsFree();
    try {
      done(result < 0 ? result : 0, result < 0 ? 0 : result, location.buffer);
    } catch (error) {
      this.#loop.uncaught(error);
    }
    if (owner.quiet !== null && (owner.active === 0 || owner.directWrites === 0)) owner.quiet();
    if (quiet !== null) for (const run of quiet) run();
  }

  /** Ends a request early if the kernel can; it completes in any case, with ECANCELED if it hadn't begun. */
  cancel(buffer: ArrayBufferView): void {
    for (const parked of this.#parked) if (parked.location.buffer === buffer) parked.cancelled = true;
    const slot = this.requests.locations.findIndex((location) => location?.buffer === buffer);
    if (slot < 0) return;
    this.#cancel(slot);
    this.nudge();
  }

  /** The kernel is asked only about what it has got. */
  #cancel(slot: number): void {
    this.cancelled[slot] = 1;
    if (this.requests.get(slot, STATE) === SUBMITTED) this.#scheme.cancel(slot);
  }

  /** Calls `run` once no request that is accepted now is left on the range: at once if there is none. */
  whenQuiet(range: Range, run: () => void): void {
    const met = ({ address, bytes }: BufferLocation): boolean =>
      overlaps(range, { start: address, end: address + bytes });
    const left = new Set<Accepted>();
    for (let slot = 0; slot < this.requests.capacity; slot++)
      if (this.requests.get(slot, STATE) !== FREE && met(this.requests.locations[slot]!)) left.add(slot);
    for (const parked of this.#parked) if (met(parked.location)) left.add(parked);
    this.#quiet.add(left, run);
  }
}
