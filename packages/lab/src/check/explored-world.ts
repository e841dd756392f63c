/**
 * The shipped core on the model's machine, with every actor a step at a time: what can happen next is `list`, one of
 * them is done by `apply`, and the whole is a row of words that `save` writes and `restore` reads.
 */

import {
  type AcceptedRequest,
  type BufferLocation,
  DIRECT_WRITE,
  type Dispatcher,
  DROPPED,
  type ForeignCalls,
  HELD_SLOTS,
  IDLE_MS as IDLE_WORD,
  type Invalidation,
  InvariantViolation,
  type LeaseParts,
  type Leases,
  type LeaseTable,
  LIVE,
  LIVE_CLEAN,
  type Loop,
  lateOf,
  leaseWords,
  MISSED,
  MISSED_SINCE_MS,
  type MmuNotifier,
  FREE as NO_LEASE,
  type Owner,
  PAGE_BYTES,
  Protocol,
  READ,
  REQUEST_FREE,
  REQUEST_SHIFT,
  RESIDENCY_MAX_MS,
  type RequestNames,
  restoreForeignCalls,
  restoreNotifier,
  restoreProtocol,
  restoreRequests,
  type SavedStart,
  StateWords,
  type Subscriber,
  saveProtocol,
  startOf,
  TAKEN,
  USED_MS,
  violated,
  WRITE,
} from "pinless/portable";
import { CallingThreads } from "./calling-threads.js";
import { CaseContext, IDLE_MS, MAX_MS, namesOfThreads } from "./context.js";
import { ExploredMonitor } from "./explored-monitor.js";
import { Rules } from "./invariants.js";
import { CheckKernel } from "./kernel.js";
import type { Scenario } from "./scenario.js";
import * as S from "./state.js";
import { type ProgramWorld, UserProgram } from "./user-program.js";

const INVALIDATION_STATES = ["", "waiting", "draining", "begun", "ended"] as const;

export class ExploredWorld implements Subscriber, Loop, ProgramWorld {
  readonly ground: CaseContext;
  readonly rules: Rules;
  readonly kernel: CheckKernel;
  readonly monitor: ExploredMonitor;
  readonly threads: CallingThreads;
  readonly program: UserProgram;
  readonly protocol: Protocol;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly dispatcher: Dispatcher;
  readonly calls: ForeignCalls;
  /** The notifier's handles of the program's invalidations, then those of the monitor's starts. */
  readonly handles: (Invalidation | undefined)[] = [];
  /** Number of the invalidation that is being made; -1: none. */
  starting = -1;
  /** Words of a whole state. */
  readonly words: number;
  /** Callbacks that say that a start of the monitor has begun. */
  readonly #readies: readonly (() => void)[];
  /** True if the last action had an effect. */
  happened = false;
  /** The error that a callback threw. */
  #thrown: unknown = null;
  /** Functions that the core hands to the loop are few, and always the same. */
  readonly #functions: (() => void)[] = [];
  readonly #owner: Owner = { active: 0, directWrites: 0, quiet: null };
  readonly #accepted: readonly AcceptedRequest[];
  readonly #engine: StateWords;
  readonly #waiting: Invalidation[] = [];
  readonly #active: Invalidation[] = [];
  readonly #names: RequestNames;
  /** There are fewer slots than requests: which of them is whose has no meaning. */
  readonly #isCrowded: boolean;
  /** True if pages may become read-only, and be unmapped by other code. */
  readonly #protects: boolean;
  readonly #unmaps: boolean;

  constructor(scenario: Scenario) {
    const ground = new CaseContext(scenario);
    this.ground = ground;
    this.#readies = scenario.foreign.map((_, start) => () => this.monitor.clients.ready(start + 1));
    this.#protects = scenario.invalidations.some(({ event }) => event === "PROTECTION_VMA");
    this.#unmaps = scenario.foreign.some(({ call }) => call === "unmap");
    this.rules = new Rules(ground);
    this.kernel = new CheckKernel(ground, this.rules);
    this.protocol = new Protocol({
      scheme: this.kernel,
      loop: this,
      chunkBytes: ground.table.chunkBytes,
      leases: this.#leaseParts(),
      requestWords: ground.requestWords,
      reading: ground.w.subarray(S.READING, S.READING + 1),
    });
    const { notifier, leases, gate, dispatcher, foreign } = this.protocol;
    this.notifier = notifier;
    this.leases = leases;
    this.dispatcher = dispatcher;
    this.calls = foreign;
    this.notifier.insert({ start: 0, end: 2 ** 46 }, this);
    gate.addTable(ground.table);
    if (leases !== null) this.#showLeases(leases.table);
    if (scenario.foreign.length > 0) this.calls.follow(ground.table);
    this.threads = new CallingThreads(ground, this.rules);
    this.monitor = new ExploredMonitor(ground, this.threads, this.kernel);
    this.monitor.serve(this.calls, () => this.#monitorEnded());
    this.rules.isMonitors = (slot) => this.monitor.isDropping(slot);
    this.program = new UserProgram(this, this.#owner, (request) => this.#accepted[request]!.done);
    this.#isCrowded = ground.requestSlots < scenario.requests.length;
    this.#accepted = scenario.requests.map(({ write }, request) => ({
      direction: write ? WRITE : READ,
      file: 0,
      kind: write ? DIRECT_WRITE : 0,
      owner: this.#owner,
      location: ground.locations[request]!,
      position: ground.blockOf(request) * PAGE_BYTES,
      done: (errno: number) => this.rules.requests.answered(request, errno),
    }));
    this.#names = {
      count: this.#accepted.length,
      nameOf: (location) => ground.locations.indexOf(location),
      requestOf: (name) => this.#accepted[name]!,
    };
    this.rules.requests.words = this.dispatcher.requests.words;
    this.rules.isHeld = (request) => this.#isHeld(ground.locations[request]!);
    this.rules.hasRoom = () => this.dispatcher.requests.hasRoom;
    this.#engine = new StateWords(ground.engine);
    this.words = ground.state.length;
    // Used before: a lease is worth taking from the first request on.
    for (let c = 0; c < scenario.chunks; c++) {
      ground.table.store(c, USED_MS, 1);
      // Later than others are used at first, so that it's worth their lease.
      ground.table.store(c, MISSED_SINCE_MS, 2);
    }
  }

  #leaseParts(): LeaseParts | null {
    if (this.ground.slots === 0) return null;
    // A chunk of one page counts as a huge page: it can't be known to be none.
    const { leases, chunkPages } = this.ground.scenario;
    const leaseBytes = chunkPages === 1 ? 2 << 20 : chunkPages * PAGE_BYTES;
    const limits = { slots: this.ground.slots, budgetBytes: leases * leaseBytes, idleMs: IDLE_MS, maxMs: MAX_MS };
    return { ...limits, words: this.ground.leaseWords };
  }

  #showLeases(table: LeaseTable): void {
    this.kernel.leases = table.words;
    this.rules.leaseChunk = (slot) => (table.state(slot) === NO_LEASE ? -1 : table.target(slot).chunk);
    this.rules.leaseIsLive = (slot) => table.state(slot) === LIVE || table.state(slot) === LIVE_CLEAN;
  }

  // The loop, as the core sees it: what it wants done later is in the state.

  nowMs(): number {
    return this.ground.w[S.TIME_MS]!;
  }

  preciseMs(): number {
    return 0;
  }

  microtask(run: () => void): void {
    S.push(this.ground.w, this.ground.at.microtasks, this.#numberOf(run));
  }

  soon(run: () => void): void {
    S.push(this.ground.w, this.ground.at.soon, this.#numberOf(run));
  }

  every(): never {
    throw new Error("core has no timers");
  }

  uncaught(error: unknown): void {
    this.#thrown ??= error;
  }

  #numberOf(run: () => void): number {
    const known = this.#functions.indexOf(run);
    return known >= 0 ? known : this.#functions.push(run) - 1;
  }

  runMicrotasks(): void {
    const { w, at } = this.ground;
    while (w[at.microtasks]! > 0) this.#functions[S.shift(w, at.microtasks)]!();
  }

  runSoon(): void {
    const { w, at } = this.ground;
    this.#functions[S.shift(w, at.soon)]!();
    this.runMicrotasks();
  }

  // The notifier tells it of turns and ends before anybody else.

  isQuiet(): boolean {
    return true;
  }

  holds(): boolean {
    return false;
  }

  stop(invalidation: Invalidation): number {
    const known = this.handles.indexOf(invalidation);
    const number = known >= 0 ? known : this.starting;
    this.handles[number] = invalidation;
    this.rules.turn(number);
    this.ground.setInvalidation(number, S.I_STATE, S.DRAINING);
    return 0;
  }

  resume(invalidation: Invalidation): void {
    const number = this.handles.indexOf(invalidation);
    this.rules.ended(number);
    this.ground.setInvalidation(number, S.I_STATE, S.ENDED);
  }

  #isHeld(location: BufferLocation): boolean {
    const { parked } = this.dispatcher;
    if (parked.size === 0) return false;
    // With nobody to announce anything it's an invalidation that it waits for, whatever the engine says.
    const { foreign, losses } = this.ground.scenario;
    const surely = foreign.length === 0 && losses === 0;
    for (const each of parked) if ((each.held || surely) && each.location === location) return true;
    return false;
  }

  /** The next message of the monitor's. */
  hearMonitor(): void {
    const callers = this.monitor.startsFor;
    this.starting = this.#invalidationOf(callers);
    this.monitor.deliver();
    if (callers > 0) this.#adopt();
    this.runMicrotasks();
  }

  /** The number of the invalidation that a start for these callers makes. */
  #invalidationOf(callers: number): number {
    return this.ground.scenario.invalidations.length + callers - 1;
  }

  /** Takes over the invalidation that the monitor's start has made, if it has made one. */
  #adopt(): void {
    const { w, at, scenario } = this.ground;
    for (let start = 0; start < scenario.foreign.length; start++) {
      if (this.#invalidationOf(w[at.starts + start]!) !== this.starting) continue;
      const [made] = startOf(this.calls, start + 1)?.invalidations ?? [];
      if (made === undefined || this.handles[this.starting] === made) continue;
      this.handles[this.starting] = made;
      this.ground.setInvalidation(this.starting, S.I_STATE, S.WAITING);
    }
  }

  /** As the engine does when the monitor's thread has ended. */
  hearLoss(): void {
    this.rules.clock = true;
    if (this.monitor.hearLoss()) this.calls.lost();
    else this.monitor.clients.lost();
    this.rules.clock = false;
    this.dispatcher.nudge();
    this.runMicrotasks();
  }

  #monitorEnded(): void {
    this.leases?.mend(this.nowMs());
    this.calls.ended();
  }

  /** All of the state, once more: to see whether something has changed. */
  snapshot(): Int32Array {
    this.#note();
    const words = new Int32Array(this.words);
    this.save(words);
    return words;
  }

  /** Something happens, and all that must hold is looked at. Returns what doesn't, or null. */
  perform(actions: { apply(action: number): boolean }, action: number): InvariantViolation | null {
    try {
      if (this.#isCrowded) restoreRequests(this.dispatcher.requests, -1);
      this.happened = actions.apply(action);
      if (this.#thrown !== null) throw this.#thrown;
      this.#note();
      this.rules.check();
      return null;
    } catch (error) {
      return this.#asViolation(error);
    }
  }

  /** The same where nothing can happen any more. */
  rest(): InvariantViolation | null {
    try {
      this.#atRest();
      return null;
    } catch (error) {
      return this.#asViolation(error);
    }
  }

  /** The violation to report: the first error that was thrown is the cause. */
  #asViolation(last: unknown): InvariantViolation {
    const error = this.#thrown ?? last;
    this.#thrown = null;
    if (error instanceof InvariantViolation) return error;
    const said = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return new InvariantViolation("STATE", said);
  }

  /** Writes down what the notifier knows. */
  #note(): void {
    const { w, at } = this.ground;
    for (let j = 0; j < this.handles.length; j++) {
      const handle = this.handles[j];
      const state = this.ground.invalidation(j, S.I_STATE);
      if (handle === undefined || state === S.NOT_STARTED || state === S.REFUSED) continue;
      if (INVALIDATION_STATES[state] !== handle.state)
        this.ground.setInvalidation(j, S.I_STATE, INVALIDATION_STATES.indexOf(handle.state));
      this.ground.setInvalidation(j, S.I_DRAINING, handle.state === "draining" ? handle.draining : 0);
    }
    const { waiting } = this.notifier;
    w[at.waiting] = waiting.length;
    for (let i = 1; i <= this.handles.length; i++) {
      const next = waiting[i - 1];
      w[at.waiting + i] = next === undefined ? 0 : this.handles.indexOf(next);
    }
    const late = lateOf(this.calls);
    w[at.late] = late.length;
    for (let i = 0; i < late.length; i++) w[at.late + 1 + i] = this.handles.indexOf(late[i]);
    for (let start = 0; start < this.ground.scenario.foreign.length; start++) {
      const made = startOf(this.calls, start + 1);
      w[at.left + start] = made === undefined ? S.NO_START : made.left + 1 + (made.orphaned ? S.ORPHANED : 0);
    }
    this.monitor.note();
  }

  /** Writes the whole state. */
  save(to: Int32Array): void {
    to.set(this.state());
  }

  /** The whole state, as it is now. What nobody will look at any more isn't part of it. */
  state(): Int32Array {
    const { requests } = this.dispatcher;
    for (let slot = 0; slot < requests.capacity; slot++)
      if (requests.words[slot << REQUEST_SHIFT] === REQUEST_FREE) forget(requests.words, slot << REQUEST_SHIFT);
    this.ground.machine.words[this.ground.machine.frames.layout.nextRequest] = 0;
    this.#engine.at = 0;
    saveProtocol(this.protocol, this.#engine, this.#names);
    if (this.leases !== null) {
      this.#forgetFigures(this.leases.table);
      // A lease costs nothing here.
      for (let c = 0; c < this.ground.scenario.chunks; c++) this.ground.table.store(c, MISSED, 0);
    }
    return this.ground.state;
  }

  #forgetFigures({ words, slots }: LeaseTable): void {
    words[TAKEN] = 0;
    words[DROPPED] = 0;
    words[RESIDENCY_MAX_MS] = 0;
    for (let slot = 0; slot < slots; slot++) if (words[leaseWords(slot)] === NO_LEASE) forget(words, leaseWords(slot));
  }

  restore(from: Int32Array): void {
    this.ground.state.set(from);
    this.#engine.at = 0;
    restoreProtocol(this.protocol, this.#engine, this.#names);
    this.#owner.active = this.dispatcher.active;
    this.#owner.directWrites = this.dispatcher.requests.active;
    this.#restoreInvalidations();
    this.#restorePages();
    this.#thrown = null;
  }

  #restoreInvalidations(): void {
    const { ground, handles } = this;
    const { w, at } = ground;
    const active = this.#active;
    while (active.length > 0) active.pop();
    for (let j = 0; j < handles.length; j++) {
      const handle = handles[j];
      if (handle === undefined) continue;
      const state = ground.invalidation(j, S.I_STATE);
      handle.state =
        state === S.NOT_STARTED || state === S.REFUSED
          ? "ended"
          : (INVALIDATION_STATES[state] as Invalidation["state"]);
      handle.draining = ground.invalidation(j, S.I_DRAINING);
      if (state === S.DRAINING || state === S.BEGUN) active.push(handle);
    }
    const waiting = this.#waiting;
    while (waiting.length > 0) waiting.pop();
    for (let i = 1; i <= w[at.waiting]!; i++) waiting.push(handles[w[at.waiting + i]!]!);
    restoreNotifier(this.notifier, waiting, active);
    if (ground.scenario.foreign.length === 0) {
      this.monitor.restore();
      return;
    }
    const starts: SavedStart[] = [];
    for (let start = 0; start < ground.scenario.foreign.length; start++) {
      const stands = w[at.left + start]!;
      if (stands === S.NO_START) continue;
      const number = this.#invalidationOf(w[at.starts + start]!);
      const handle = handles[number];
      const asked = handle === undefined || ground.invalidation(number, S.I_STATE) === S.NOT_STARTED;
      starts.push({
        id: start + 1,
        left: (stands % S.ORPHANED) - 1,
        ready: this.#readies[start]!,
        invalidations: asked ? [] : [handle],
        orphaned: stands >= S.ORPHANED,
      });
    }
    const late: Invalidation[] = [];
    for (let i = 1; i <= w[at.late]!; i++) late.push(handles[w[at.late + i]!]!);
    restoreForeignCalls(this.calls, starts, late, this.monitor.isTakenOver);
    this.monitor.restore();
  }

  /** Restores the ranges by which the gate and the table know pages. */
  #restorePages(): void {
    const { ground, protocol } = this;
    const { readOnly } = protocol.gate;
    const { gone, range } = ground.table;
    if (this.#protects) readOnly.remove(range);
    if (this.#unmaps) gone.length = 0;
    if (!this.#protects && !this.#unmaps) return;
    for (let page = 0; page < ground.pages; page++) {
      const flags = ground.page(page, S.P_FLAGS);
      if ((flags & S.IS_READ_ONLY) !== 0) readOnly.add(ground.range({ first: page, last: page }));
      if ((flags & S.BURIED) !== 0) gone.push(ground.range({ first: page, last: page }));
    }
  }

  /** Nothing can happen any more: everything must have ended, and nothing be left over. */
  #atRest(): void {
    const { ground, dispatcher } = this;
    ground.scenario.foreign.forEach((_, f) => {
      const never = ground.hasLostMonitor && ground.foreign(f, S.F_STATE) === S.IDLE;
      if (ground.foreign(f, S.F_STATE) !== S.LEFT && !never)
        violated("BOUNDED_WAIT", `nothing can happen any more, and T${f + 1} is still waited for`);
    });
    ground.scenario.requests.forEach((_, i) => {
      if (ground.request(i, S.R_STATUS) === S.NOT_YET)
        violated("BOUNDED_WAIT", `nothing can happen any more, and there's no room for ${String.fromCharCode(97 + i)}`);
      if (ground.request(i, S.R_STATUS) !== S.ANSWERED)
        violated("EXACTLY_ONCE", `nothing can happen any more, and ${String.fromCharCode(97 + i)} isn't answered`);
    });
    for (let j = 0; j < this.handles.length; j++) {
      const state = ground.invalidation(j, S.I_STATE);
      if (state >= S.WAITING && state <= S.BEGUN)
        violated("BOUNDED_WAIT", `nothing can happen any more, and an invalidation is ${INVALIDATION_STATES[state]}`);
    }
    ground.scenario.invalidations.forEach(({ blockable }, j) => {
      if (blockable && ground.invalidation(j, S.I_STATE) !== S.ENDED)
        violated("BOUNDED_WAIT", `nothing can happen any more, and ${j} never ended`);
    });
    for (let start = 0; start < ground.scenario.foreign.length; start++)
      if (startOf(this.calls, start + 1) !== undefined)
        violated(
          "BOUNDED_WAIT",
          `nothing can happen any more, and the start for ${namesOfThreads(ground.w[ground.at.starts + start]!)} still drains`,
        );
    if (!this.monitor.isAtRest)
      violated(
        "BOUNDED_WAIT",
        "nothing can happen any more, and the monitor still waits for a thread to leave its call",
      );
    if (dispatcher.active !== 0) violated("EXACTLY_ONCE", "a request is left over");
    this.#giveBack();
    if (ground.w[S.ALIVE] !== 0) violated("EXACTLY_ONCE", "an engine with nothing to do keeps the process alive");
  }

  /** The clock goes on: no pin is left. */
  #giveBack(): void {
    const { leases, ground } = this;
    if (leases === null) return;
    for (let i = 0; i < 3; i++) {
      ground.w[S.TIME_MS]! += leases.table.header(IDLE_WORD);
      this.program.tick();
      this.runMicrotasks();
      for (let slot = 0; slot < ground.slots; slot++) if (ground.slot(slot, S.S_TAG) === 1) this.kernel.postTag(slot);
      if (ground.w[S.WAKE] === 1) this.program.wake();
      while (ground.w[ground.at.soon]! > 0) this.runSoon();
    }
    if (leases.table.header(HELD_SLOTS) !== 0 || ground.machine.disk.pins !== 0)
      violated(
        "NO_IDLE_PIN",
        `${leases.table.header(HELD_SLOTS)} leases and ${ground.machine.disk.pins} pins are left over`,
      );
  }
}

/** Eight words, as a request and a lease have. */
function forget(words: Int32Array, from: number): void {
  for (let i = from; i < from + 8; i++) words[i] = 0;
}
