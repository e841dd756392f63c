/**
 * Requests on their way: accepted into a queue, let through the gate, handed to the kernel in batches, and answered. One turn does all of
 * it: submit what was queued in one call, reap, call back, submit what the callbacks queued, and so on. At most `TURN_COMPLETIONS` before
 * timers and sockets get their turn: without that limit a 1 ms timer ticked once in 2 s, with it 1,990 of 2,000 times.
 */

import { violated } from "./assert.js";
import type { ChunkTable } from "./chunk-table.js";
import { Gate, GO, UNTIL_SETTLED, WAIT } from "./gate.js";
import type { Leases } from "./leases.js";
import type { MmuNotifier } from "./notifier.js";
import {
  type CompletionSink,
  ECANCELED,
  EFAULT,
  EINVAL,
  EOPNOTSUPP,
  type Loop,
  type RequestPlace,
  type Scheme,
} from "./ports.js";
import { overlaps, type Range } from "./ranges.js";
import {
  FILE,
  FREE,
  LEASE,
  REQUEST_SHIFT,
  RequestTable,
  STATE,
  SUBMITTED,
  UNREGISTERED,
  WRITE,
} from "./request-table.js";
import type { StateWords } from "./state-words.js";

const TURN_COMPLETIONS = 256;

/** `errno` is 0 or negative, `bytes` what was transferred. */
export type Done = (errno: number, bytes: number, buffer: ArrayBufferView) => void;

/** Who a request belongs to (a file); counts what is in flight. */
export interface Owner {
  /** Requests between acceptance and completion. */
  active: number;
  /** Of these, writes that go around the page cache. */
  directWrites: number;
  /** Called, if set, when one of the counts has come down to 0. */
  quiet: (() => void) | null;
  /** Where requests go that are refused on their way around the page cache. */
  readonly instead?: Instead;
}

/** A filesystem may take O_DIRECT when a file is opened, and refuse what is asked of it then. */
export interface Instead {
  /** The handle to go by instead of this one, or -1. */
  handleFor(file: number): number;
  /** A request has gone by it, and wasn't refused there. */
  taken(errno: number): void;
}

/** In `#kinds`: writes around the page cache; and requests that were refused there, with EINVAL or with EOPNOTSUPP. */
const DIRECT_WRITE = 1;
const REFUSED_INVALID = 2;
const REFUSED_UNSUPPORTED = 4;

export interface DispatcherParts {
  readonly scheme: Scheme;
  readonly loop: Loop;
  readonly notifier: MmuNotifier;
  readonly tables: ChunkTable[];
  readonly leases: Leases | null;
  /** `lifetime` only: the slot that memory was registered in for good, or -1. */
  readonly registered: ((place: RequestPlace) => number) | null;
  /** Where the words of its requests are to lie, if not in memory of their own. */
  readonly requestWords?: Int32Array;
  /** The monitor's word (announcements.ts); absent: there's no monitor. */
  readonly reading?: Int32Array;
}

export class Dispatcher implements CompletionSink {
  readonly requests: RequestTable;
  readonly gate: Gate;
  readonly #scheme: Scheme;
  readonly #loop: Loop;
  readonly #leases: Leases | null;
  readonly #registered: DispatcherParts["registered"];
  readonly #owners: (Owner | undefined)[];
  readonly #kinds: Uint8Array;
  /** 1: ended by its owner. What the kernel hasn't begun by then never begins. */
  readonly #cancelled: Uint8Array;
  readonly #dones: (Done | undefined)[];
  /** Requests that wait until what the monitor has announced on their range is over. */
  #unsettled: number[] = [];
  /** Operations that wait until it's known what of their range is unmapped. */
  readonly #unknown: { range: Range; run: () => void }[] = [];
  /** Those that failed before they began, and their results: each is answered by a microtask of its own. */
  #failing: number[] = [];
  readonly #waiters: { slots: Set<number>; run: () => void }[] = [];
  #nowMs = 0;
  #budget = TURN_COMPLETIONS;
  #scheduled = false;
  #inTurn = false;
  #alive = false;
  /** Set while somebody waits for a free slot; called after each completion then. */
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
    this.#loop = parts.loop;
    this.#leases = parts.leases;
    this.#registered = parts.registered;
    const capacity = parts.scheme.depth + (parts.scheme.ahead ?? 0);
    this.requests = new RequestTable(capacity, parts.requestWords);
    this.#owners = new Array(capacity).fill(undefined);
    this.#kinds = new Uint8Array(capacity);
    this.#cancelled = new Uint8Array(capacity);
    this.#dones = new Array(capacity).fill(undefined);
    this.gate = new Gate(
      this.requests,
      parts.tables,
      parts.leases,
      parts.notifier,
      {
        released: (slot) => this.#released(slot),
        dropping: () => this.nudge(),
      },
      parts.reading ?? new Int32Array(1),
    );
  }

  /** Accepts a request, or answers false: busy. `done` is called once, never in here. */
  accept(
    write: boolean,
    file: number,
    owner: Owner,
    direct: boolean,
    place: RequestPlace,
    position: number,
    done: Done,
  ): boolean {
    const slot = this.requests.take();
    if (slot < 0) return false;
    const { words } = this.requests;
    const at = slot << REQUEST_SHIFT;
    words[at + WRITE] = write ? 1 : 0;
    words[at + FILE] = file;
    this.requests.position[slot] = position;
    this.requests.places[slot] = place;
    this.#owners[slot] = owner;
    this.#dones[slot] = done;
    owner.active++;
    const directWrite = write && direct;
    if (directWrite) owner.directWrites++;
    this.#kinds[slot] = directWrite ? DIRECT_WRITE : 0;
    this.#cancelled[slot] = 0;
    this.submitted++;
    if (!this.#inTurn) this.#wakeUp();
    this.#submit(slot, place, write);
    return true;
  }

  /** A turn that another turn of the host's loop begins: a full budget. */
  readonly turnOfLoop = (): void => {
    this.#budget = TURN_COMPLETIONS;
    this.turn();
  };

  readonly turn = (): void => {
    if (this.#inTurn) return;
    this.#inTurn = true;
    this.#scheduled = false;
    this.#nowMs = this.#loop.nowMs();
    try {
      this.#pump();
    } finally {
      this.#inTurn = false;
    }
  };

  #pump(): void {
    for (;;) {
      const errno = this.#scheme.enter();
      if (errno < 0) violated("STATE", `the kernel refused a submission as a whole: errno ${-errno}`);
      if (this.#budget <= 0) {
        this.#soon();
        return;
      }
      const reaped = this.#scheme.reap(this, this.#budget);
      this.#budget -= reaped;
      if (reaped === 0) break;
    }
    this.#leases?.collect(this.#nowMs);
    const waiting = this.requests.active > 0 || this.#leases?.uncollected === true || this.#unknown.length > 0;
    if (waiting && !this.#scheme.arm()) this.#soon();
    else this.#keepAlive(waiting);
  }

  #soon(): void {
    this.#scheduled = true;
    this.#loop.soon(this.turnOfLoop);
  }

  #keepAlive(yes: boolean): void {
    if (this.#alive === yes) return;
    this.#alive = yes;
    this.#scheme.keepAlive(yes);
  }

  /** Something changed that a turn has to look at, with no request accepted: a lease on its way, say. */
  nudge(): void {
    if (!this.#inTurn) this.#wakeUp();
  }

  #wakeUp(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#nowMs = this.#loop.nowMs();
    this.#loop.microtask(this.turn);
  }

  /** An invalidation that held it has ended. */
  #released(slot: number): void {
    // First: it looks at the clock, which may have gone on for as long as the invalidation took.
    this.nudge();
    this.#submit(slot, this.requests.places[slot]!, this.requests.get(slot, WRITE) === 1);
  }

  #submit(slot: number, place: RequestPlace, write: boolean): void {
    if (this.#cancelled[slot] === 1) {
      this.#finishSoon(slot, -ECANCELED);
      return;
    }
    const verdict = this.gate.admit(slot, place, write, this.#nowMs);
    if (verdict === WAIT) return;
    if (verdict === UNTIL_SETTLED) {
      this.#unsettled.push(slot);
      return;
    }
    if (verdict !== GO) {
      this.#finishSoon(slot, -EFAULT);
      return;
    }
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const leased = words[at + LEASE]!;
    const lease = this.#registered !== null && leased !== UNREGISTERED ? this.#registered(place) : leased;
    if (lease < 0) this.perIo++;
    this.#scheme.prepare(slot, write, words[at + FILE]!, place, position[slot]!, lease);
  }

  completed(slot: number, result: number): void {
    const place = this.requests.places[slot]!;
    if (result === -EFAULT && this.#leases !== null && this.requests.get(slot, LEASE) >= 0) {
      if (this.#cancelled[slot] === 0) {
        this.#refusedAtImport(slot, place);
        return;
      }
      result = -ECANCELED;
    }
    if ((result === -EINVAL || result === -EOPNOTSUPP) && this.#goesInstead(slot, place, result)) return;
    this.gate.complete(slot, place);
    if (result >= 0 && this.gate.isDoubtful(slot, place) && this.#mayGoAgain(slot)) {
      this.reissued++;
      this.#submit(slot, place, false);
    } else this.#finish(slot, place, result);
  }

  /** A request that the filesystem has refused goes through the page cache, if it came around it. */
  #goesInstead(slot: number, place: RequestPlace, errno: number): boolean {
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    const file = this.#owners[slot]!.instead?.handleFor(words[at + FILE]!) ?? -1;
    if (file === -1 || this.#cancelled[slot] === 1) return false;
    words[at + FILE] = file;
    this.#kinds[slot]! |= errno === -EINVAL ? REFUSED_INVALID : REFUSED_UNSUPPORTED;
    if (!this.#admittedAgain(slot, place))
      this.#scheme.prepare(slot, words[at + WRITE] === 1, file, place, position[slot]!, -1);
    return true;
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
    if (this.#unsettled.length === 0) return;
    const slots = this.#unsettled;
    this.#unsettled = [];
    this.nudge();
    for (const slot of slots) this.#submit(slot, this.requests.places[slot]!, this.requests.get(slot, WRITE) === 1);
  }

  /** Calls `run` once it's known what of a range other code has unmapped: at once if nothing is announced there. */
  whenKnown(range: Range, run: () => void): void {
    if (this.gate.knowsUnmaps(range)) run();
    else this.#unknown.push({ range, run });
    // A turn decides what keeps the process alive.
    this.nudge();
  }

  /**
   * A registered request faults only where the registration itself isn't there: the monitor dropped the lease between the writing of the
   * entry and its submission. The kernel hadn't begun it, so this isn't a second issue.
   */
  #refusedAtImport(slot: number, place: RequestPlace): void {
    const { words, position } = this.requests;
    const at = slot << REQUEST_SHIFT;
    this.refusedAtImport++;
    if (this.#admittedAgain(slot, place)) return;
    this.#scheme.prepare(slot, words[at + WRITE] === 1, words[at + FILE]!, place, position[slot]!, -1);
  }

  /** As at the import: the kernel hadn't begun it. */
  refused(slot: number): void {
    const { words, position, places } = this.requests;
    const place = places[slot]!;
    const at = slot << REQUEST_SHIFT;
    if (this.#cancelled[slot] === 1) this.completed(slot, -ECANCELED);
    else if (!this.#admittedAgain(slot, place))
      this.#scheme.prepareAside!(slot, words[at + WRITE] === 1, words[at + FILE]!, place, position[slot]!);
  }

  /** A request that wasn't begun goes without its lease. True: something was announced on its range, so it waits for that first. */
  #admittedAgain(slot: number, place: RequestPlace): boolean {
    const { words } = this.requests;
    const at = slot << REQUEST_SHIFT;
    if (words[at + LEASE]! >= 0) this.perIo++;
    words[at + LEASE] = -1;
    // A lease was dropped since the pages go: where nothing may touch them any more, per-io would.
    if (!this.gate.isDoubtful(slot, place)) return false;
    this.gate.complete(slot, place);
    this.#submit(slot, place, words[at + WRITE] === 1);
    return true;
  }

  released(bufferSlot: number): void {
    this.#leases?.released(bufferSlot, this.#nowMs);
  }

  /** Not from inside whatever made it fail: the answer never comes within `submit` or an invalidation's end. */
  #finishSoon(slot: number, result: number): void {
    this.#failing.push(slot, result);
    this.#loop.microtask(this.#finishNext);
  }

  readonly #finishNext = (): void => {
    const [slot, result] = this.#failing.splice(0, 2) as [number, number];
    this.#finish(slot, this.requests.places[slot]!, result);
    // A turn decides what keeps the process alive: this may have been the last request.
    this.nudge();
  };

  #finish(slot: number, place: RequestPlace, result: number): void {
    const done = this.#dones[slot]!;
    const owner = this.#owners[slot]!;
    this.#dones[slot] = undefined;
    this.#owners[slot] = undefined;
    this.requests.places[slot] = undefined;
    this.requests.release(slot);
    owner.active--;
    const kind = this.#kinds[slot]!;
    if ((kind & DIRECT_WRITE) !== 0) owner.directWrites--;
    if (kind > DIRECT_WRITE && result >= 0)
      owner.instead?.taken((kind & REFUSED_INVALID) !== 0 ? -EINVAL : -EOPNOTSUPP);
    if (result < 0) this.failed++;
    else this.completedOk++;
    // Who asks from inside `done` doesn't mean this request any more: its slot may be another's by then.
    const asked = this.#waiters.length;
    try {
      done(result < 0 ? result : 0, result < 0 ? 0 : result, place.buffer);
    } catch (error) {
      this.#loop.uncaught(error);
    }
    if (owner.quiet !== null && (owner.active === 0 || owner.directWrites === 0)) owner.quiet();
    if (asked > 0) this.#tellWaiters(slot, asked);
    if (this.room !== null) this.room();
  }

  /** Ends a request early if the kernel can; it completes in any case, with ECANCELED if it hadn't begun. */
  cancel(buffer: ArrayBufferView): void {
    const slot = this.requests.places.findIndex((place) => place?.buffer === buffer);
    if (slot < 0) return;
    this.#cancel(slot);
    this.nudge();
  }

  /** The kernel is asked only about what it has got. */
  #cancel(slot: number): void {
    this.#cancelled[slot] = 1;
    if (this.requests.get(slot, STATE) === SUBMITTED) this.#scheme.cancel(slot);
  }

  /** Calls `run` once no request that is accepted now is left on the range: at once if there is none. */
  whenQuiet(range: Range, run: () => void): void {
    const slots = new Set<number>();
    for (let slot = 0; slot < this.requests.capacity; slot++) {
      if (this.requests.get(slot, STATE) === FREE) continue;
      const { address, bytes } = this.requests.places[slot]!;
      if (overlaps(range, { start: address, end: address + bytes })) slots.add(slot);
    }
    if (slots.size === 0) run();
    else this.#waiters.push({ slots, run });
  }

  /** What isn't in the tables, between turns and with nobody waiting for quiet. */
  save(to: StateWords): void {
    const { capacity } = this.requests;
    to.put(this.#nowMs);
    to.put((this.#scheduled ? 1 : 0) | (this.#alive ? 2 : 0));
    to.putList(this.#unsettled, capacity);
    to.putList(this.#failing, 2 * capacity);
    to.putList(this.gate.held, capacity);
    for (let slot = 0; slot < capacity; slot++) to.put(this.#cancelled[slot]!);
  }

  /** After the tables were put back. `of` says again what was accepted in a slot: all as `accept` was told. */
  restore(
    from: StateWords,
    of: (slot: number) => { owner: Owner; place: RequestPlace; position: number; done: Done },
  ): void {
    const { capacity } = this.requests;
    this.#nowMs = from.take();
    const flags = from.take();
    this.#scheduled = (flags & 1) !== 0;
    this.#alive = (flags & 2) !== 0;
    this.#inTurn = false;
    this.#budget = TURN_COMPLETIONS;
    from.takeList(this.#unsettled, capacity);
    from.takeList(this.#failing, 2 * capacity);
    from.takeList(this.gate.held, capacity);
    for (let slot = 0; slot < capacity; slot++) {
      this.#cancelled[slot] = from.take();
      if (this.requests.get(slot, STATE) === FREE) continue;
      const { owner, place, position, done } = of(slot);
      this.#owners[slot] = owner;
      this.#dones[slot] = done;
      this.requests.places[slot] = place;
      this.requests.position[slot] = position;
    }
  }

  /** Tells the first `asked`, in their order. */
  #tellWaiters(slot: number, asked: number): void {
    for (let i = 0; i < asked; ) {
      const waiter = this.#waiters[i]!;
      if (!waiter.slots.delete(slot) || waiter.slots.size > 0) {
        i++;
        continue;
      }
      this.#waiters.splice(i, 1);
      asked--;
      waiter.run();
    }
  }
}
