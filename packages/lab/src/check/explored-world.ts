/**
 * The world that is explored: the shipped protocol on the model's machine, with every actor's steps as actions. Its
 * state is a row of words, which WorldState writes and restores.
 */

import {
  type AcceptedRequest,
  type BufferLocation,
  DIRECT_WRITE,
  type Dispatcher,
  type ForeignCalls,
  type Invalidation,
  InvariantViolation,
  type LeaseParts,
  type Leases,
  type LeaseTable,
  LIVE,
  LIVE_CLEAN,
  type Loop,
  MISSED_SINCE_MS,
  type MmuNotifier,
  FREE as NO_LEASE,
  type Owner,
  PAGE_BYTES,
  Protocol,
  READ,
  restoreRequests,
  type Subscriber,
  startOf,
  USED_MS,
  WRITE,
} from "pinless/portable";
import { CONCLUSION } from "./action-codes.js";
import { checkAtRest } from "./at-rest.js";
import { CallingThreads } from "./calling-threads.js";
import { CaseContext, IDLE_MS, MAX_MS } from "./context.js";
import { ExploredMonitor } from "./explored-monitor.js";
import { Rules } from "./invariants.js";
import { CheckKernel } from "./kernel.js";
import type { Scenario } from "./scenario.js";
import * as S from "./state.js";
import type { StateRow } from "./state-row.js";
import { type ProgramWorld, UserProgram } from "./user-program.js";
import { WorldState } from "./world-state.js";

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
  /** Number of the invalidation that is being started, or -1. */
  starting = -1;
  /** True if the last action had an effect. */
  happened = false;
  /** The error that a callback threw. */
  #thrown: unknown = null;
  /** Functions that the protocol has passed to the loop, by number: they are few, and always the same. */
  readonly #functions: (() => void)[] = [];
  readonly owner: Owner = { active: 0, directWrites: 0, becameIdle: null };
  readonly #accepted: readonly AcceptedRequest[];
  readonly #state: WorldState;
  /** True if there are fewer slots than requests, so that slots aren't assigned by request number. */
  readonly #isCrowded: boolean;

  constructor(scenario: Scenario) {
    const ground = new CaseContext(scenario);
    this.ground = ground;
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
    this.program = new UserProgram(this, this.owner, (request) => this.#accepted[request]!.done);
    this.#isCrowded = ground.requestSlots < scenario.requests.length;
    this.#accepted = scenario.requests.map(({ write }, request) => ({
      direction: write ? WRITE : READ,
      file: 0,
      kind: write ? DIRECT_WRITE : 0,
      owner: this.owner,
      location: ground.locations[request]!,
      position: ground.blockOf(request) * PAGE_BYTES,
      done: (errno: number) => this.rules.requests.answered(request, errno),
    }));
    this.#state = new WorldState(this, this.#accepted);
    this.rules.requests.words = this.dispatcher.requests.words;
    this.rules.isHeld = (request) => this.#isHeld(ground.locations[request]!);
    this.rules.hasRoom = () => this.dispatcher.requests.hasRoom;
    // Chunks count as used before, so that a lease is worth taking from the first request on.
    for (let c = 0; c < scenario.chunks; c++) {
      ground.table.store(c, USED_MS, 1);
      // A later time than that of the chunks' first use, so that this chunk may take the place of another's lease.
      ground.table.store(c, MISSED_SINCE_MS, 2);
    }
  }

  #leaseParts(): LeaseParts | null {
    if (this.ground.slots === 0) return null;
    // A chunk of one page is accounted as a huge page, because it could be a part of one.
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

  // The Loop port: functions that are to run later are part of the state.

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

  after(): never {
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

  // The Subscriber port: this subscriber is the first, so that it sees turns and ends before the gate.

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
    // In a scenario without announcements a parked request waits for an invalidation, whatever its `held` says.
    const { foreign, losses } = this.ground.scenario;
    const surely = foreign.length === 0 && losses === 0;
    for (const each of parked) if ((each.held || surely) && each.location === location) return true;
    return false;
  }

  /** Delivers the monitor's next message. */
  hearMonitor(): void {
    const callers = this.monitor.startsFor;
    this.starting = this.invalidationOf(callers);
    this.monitor.deliver();
    if (callers > 0) this.#adopt();
    this.runMicrotasks();
  }

  /** Number of the invalidation that a start for these callers makes. */
  invalidationOf(callers: number): number {
    return this.ground.scenario.invalidations.length + callers - 1;
  }

  /** Registers the invalidation that the monitor's start has made, if there is one. */
  #adopt(): void {
    const { w, at, scenario } = this.ground;
    for (let start = 0; start < scenario.foreign.length; start++) {
      if (this.invalidationOf(w[at.starts + start]!) !== this.starting) continue;
      const [made] = startOf(this.calls, start + 1)?.invalidations ?? [];
      if (made === undefined || this.handles[this.starting] === made) continue;
      this.handles[this.starting] = made;
      this.ground.setInvalidation(this.starting, S.I_STATE, S.WAITING);
    }
  }

  /** Does what the engine does after the end of the monitor's thread: at first, and in conclusion. */
  hearLoss(stage: number): void {
    this.rules.clock = true;
    if (stage === CONCLUSION) {
      this.monitor.lossIsConcluded();
      this.calls.lossIsOver();
    } else {
      this.monitor.lossIsHeard();
      this.monitor.clients.lost();
    }
    this.rules.clock = false;
    this.dispatcher.nudge();
    this.runMicrotasks();
  }

  #monitorEnded(): void {
    this.leases?.completeAbandonedDrops(this.nowMs());
    this.calls.monitorEnded();
  }

  /** Has to be called before each step of the engine. */
  engineSteps(): void {
    this.#state.engineSteps();
  }

  /** Copy of the state, to detect a change. */
  snapshot(): Int32Array {
    this.#state.note();
    return this.state().words.slice();
  }

  /** The present state, in a row that the next action overwrites. */
  state(): StateRow {
    return this.#state.state();
  }

  restore(from: StateRow): void {
    this.#state.restore(from);
    this.#thrown = null;
  }

  /** Applies an action and checks the invariants. Returns the violation, or null. */
  perform(actions: { apply(action: number): boolean }, action: number): InvariantViolation | null {
    try {
      this.#state.begin();
      if (this.#isCrowded) restoreRequests(this.dispatcher.requests, -1);
      this.happened = actions.apply(action);
      if (this.#thrown !== null) throw this.#thrown;
      this.#state.note();
      this.rules.check();
      return null;
    } catch (error) {
      return this.#asViolation(error);
    }
  }

  /** Checks the invariants of a state without enabled actions. Returns the violation, or null. */
  rest(): InvariantViolation | null {
    try {
      this.engineSteps();
      checkAtRest(this);
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
}
