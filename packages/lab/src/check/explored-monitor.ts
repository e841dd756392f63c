/**
 * The shipped monitor as an actor of the explorer: each of its steps is an action, as are the delivery of its messages
 * to the engine's thread, and its end at any moment.
 */

import {
  beginReading,
  type Caller,
  DRAIN,
  type ForeignCalls,
  forEachLive,
  LeaseClock,
  MONITOR,
  MonitorClients,
  MonitorMachine,
  type MonitorReport,
  type MonitorState,
  type Range,
  stateOf,
  violated,
} from "pinless/portable";
import { type CallingThreads, MEMORY_TID, OWN_TID } from "./calling-threads.js";
import { type CaseContext, callersIn, namesOfThreads } from "./context.js";
import { Interned } from "./interned.js";
import type { CheckKernel } from "./kernel.js";
import { MonitorWords } from "./monitor-words.js";
import * as S from "./state.js";

/**
 * Bits of the LOST word: the engine hasn't been notified of the monitor's end; it has announced every chunk, and
 * concludes that once no thread can be in a call any more. Both are set if the next monitor ends before that. The bits
 * from LATER_CALLS on are then the calls that its end has let go: the earlier conclusion doesn't wait for them.
 */
const UNHEARD = 1;
const UNCONCLUDED = 2;
const LATER_CALLS = 2;

const WATCHED = 0;
/** Time that exceeds every limit of the monitor. */
const LATE_MS = 1e6;

export class ExploredMonitor {
  readonly clients: MonitorClients;
  readonly #ground: CaseContext;
  readonly #threads: CallingThreads;
  readonly #kernel: CheckKernel;
  readonly #machine: MonitorMachine;
  readonly #leases = new LeaseClock();
  readonly #states: Interned<MonitorState>;
  readonly #reports: Interned<MonitorReport>;
  readonly #first: MonitorState;
  /** The state whose number is in the MONITOR word. */
  #noted: MonitorState;
  #nowMs = 0;

  constructor(ground: CaseContext, threads: CallingThreads, kernel: CheckKernel) {
    this.#ground = ground;
    this.#threads = threads;
    this.#kernel = kernel;
    const { w, table, scenario } = ground;
    const drain = w.subarray(S.DRAIN, S.DRAIN + 1);
    const reading = w.subarray(S.READING, S.READING + 1);
    const words = new MonitorWords(ground, threads);
    this.#states = new Interned((state, to) => words.putState(state, to));
    this.#reports = new Interned((report, to) => words.putReport(report, to));
    this.clients = new MonitorClients(drain, reading, () => {});
    this.#machine = new MonitorMachine({
      drain,
      reading,
      ownTid: OWN_TID,
      ourTids: Int32Array.of(MEMORY_TID),
      threads,
      leases: this.#leases,
      nowMs: () => this.#nowMs,
      next: () => threads.next(),
      post: (report) => S.push(w, ground.at.messages, this.#reports.numberOf(report)),
    });
    if (kernel.leases !== null)
      this.#leases.watch(WATCHED, kernel.leases, (slot) => {
        ground.tell?.(`the monitor empties slot ${slot}`);
        kernel.empty(slot);
      });
    const { range, chunkBytes } = table;
    if (scenario.foreign.length > 0)
      this.#machine.segments.add({ id: 0, range, chunkBytes, words: table.words, watched: WATCHED });
    this.#first = this.#machine.state;
    this.#noted = this.#first;
    this.#states.numberOf(this.#first);
  }

  /** Stores the number of the machine's state in its word. */
  note(): void {
    if (this.#machine.state === this.#noted) return;
    const number = this.#states.numberOf(this.#machine.state);
    this.#ground.w[S.MONITOR] = number;
    this.#noted = this.#states.valueOf(number);
    this.#machine.state = this.#noted;
  }

  restore(): void {
    this.#noted = this.#states.valueOf(this.#ground.w[S.MONITOR]!);
    this.#machine.state = this.#noted;
  }

  get #isWatching(): boolean {
    return this.#machine.isWatching && !this.#ground.hasLostMonitor;
  }

  get maySee(): boolean {
    return this.#isWatching && this.#threads.isAnyVisible;
  }

  /** Begins to handle an event: the monitor sees all threads that wait. */
  see(): void {
    this.#machine.readable();
    this.#machine.step();
  }

  /** True if there is an event but no thread can be seen waiting, until the monitor's time for that is over. */
  get maySeeNoThread(): boolean {
    return this.#isWatching && this.#threads.hasEvent && !this.#threads.isAnyVisible;
  }

  seeNoThread(): void {
    this.#machine.readable();
    this.#late(() => this.#machine.step());
  }

  #late(run: () => void): void {
    this.#nowMs = LATE_MS;
    run();
    this.#nowMs = 0;
  }

  /** True if the current step isn't blocked. */
  get mayStep(): boolean {
    if (this.#machine.isWatching) return false;
    if (this.#machine.state.doing !== MONITOR.DRAINING) return true;
    const stands = stateOf(this.#ground.w[S.DRAIN]!);
    return stands === DRAIN.BEGUN || stands === DRAIN.COVERED;
  }

  step(): void {
    this.#machine.step();
    // Two kinds of steps aren't separate actions, because no other actor can tell the states around them apart: the one
    // after the last event was read, and the one that finds no lease left to drop.
    const { doing } = this.#machine.state;
    if (doing === MONITOR.READ || (doing === MONITOR.CLAIMING && !this.#isAnyLeft)) this.#machine.step();
  }

  get #isAnyLeft(): boolean {
    const { losing, dueMs } = this.#machine.state;
    const { leases } = this.#kernel;
    if (leases === null) return false;
    if (losing.length === 0) return this.#leases.nextDue(dueMs) !== null;
    let any = false;
    forEachLive(leases, () => {
      any = true;
    });
    return any;
  }

  get mayGiveUp(): boolean {
    return this.#machine.state.doing === MONITOR.DRAINING && !this.mayStep;
  }

  /** Exceeds the limit of the current wait: for the engine's thread, the device or another invalidation. */
  giveUp(): void {
    this.#late(() => this.#machine.step());
  }

  /**
   * True if the monitor can see that a thread of a pending discard has left its call; or, late, that an unseen one must
   * have left it.
   */
  mayLook(at: "seen" | "late"): boolean {
    const { doing, pending } = this.#machine.state;
    if (doing !== MONITOR.WATCHING && doing !== MONITOR.DRAINING) return false;
    const { inCall } = this.#threads;
    let watched = 0;
    let hasLeft = false;
    for (const { polled, untilMs } of pending) {
      for (const { caller } of polled) {
        const bit = this.#threads.bitOf(caller);
        watched |= bit;
        if (at === "seen") hasLeft ||= (bit & inCall) === 0;
      }
      if (at === "late") hasLeft ||= untilMs > 0;
    }
    return hasLeft && (at === "seen" || (inCall & ~watched) === 0);
  }

  look(at: "seen" | "late"): void {
    if (at === "late") this.#late(() => this.#machine.look());
    else this.#machine.look();
  }

  /** True if a lease is due while the engine's clock stalls. */
  get mayTick(): boolean {
    const { w } = this.#ground;
    return this.#isWatching && w[S.STALLED] === 1 && this.#leases.nextDue(w[S.TIME_MS]!) !== null;
  }

  tick(): void {
    this.#machine.tick(this.#ground.w[S.TIME_MS]!);
    this.step();
  }

  isDropping(slot: number): boolean {
    return this.#machine.state.lease?.slot === slot;
  }

  get isAtRest(): boolean {
    return this.#machine.isWatching && this.#machine.state.pending.length === 0;
  }

  // Its messages, in the order of sending.

  get hasMessage(): boolean {
    return this.#ground.w[this.#ground.at.messages]! > 0;
  }

  get #message(): MonitorReport {
    return this.#reports.valueOf(this.#ground.w[this.#ground.at.messages + 1]!);
  }

  /** Bit set of the foreign calls for which the next message asks for a start; 0 if it's another message. */
  get startsFor(): number {
    const report = this.#message;
    return report.kind === "start" ? this.#threads.callsOf(report.ranges) : 0;
  }

  deliver(): void {
    const ground = this.#ground;
    const report = this.#message;
    S.shift(ground.w, ground.at.messages);
    if (report.kind === "start") ground.w[ground.at.starts + report.id - 1] = this.#threads.callsOf(report.ranges);
    if (report.kind === "unmapped")
      for (let page = ground.pageAt(report.gone.start); page < ground.pageAt(report.gone.end); page++)
        ground.flag(page, S.BURIED);
    this.clients.obey(report);
  }

  /** Adds the engine as a client, and checks SELF_EVENT at each start. */
  serve(calls: ForeignCalls, lost: () => void): void {
    const start = (id: number, ranges: readonly Range[], ready: () => void): ReturnType<ForeignCalls["start"]> => {
      const callers = this.#threads.callsOf(ranges);
      const covered = callersIn(callers).every((f) => this.#isInsideOurs(f));
      const state = calls.start(id, ranges, ready);
      if (covered !== (state === "covered"))
        violated(
          "SELF_EVENT",
          `what ${namesOfThreads(callers)} calls is ${covered ? "" : "not "}inside an invalidation of the program's; ` +
            `the start is ${state}`,
        );
      return state;
    };
    this.clients.add({
      calls: {
        start,
        isBegun: (id) => calls.isBegun(id),
        end: (id) => calls.end(id),
        concluded: () => calls.concluded(),
        unmapped: (gone) => calls.unmapped(gone),
      },
      lost,
    });
  }

  #isInsideOurs(call: number): boolean {
    const ground = this.#ground;
    const { first, last } = ground.chunksOfCall(call);
    return ground.scenario.invalidations.some((_, j) => {
      const chunks = ground.chunksOf(j);
      return ground.invalidation(j, S.I_STATE) === S.BEGUN && chunks.first <= first && last <= chunks.last;
    });
  }

  // Its end.

  /** True if the monitor's thread may end: it may in any state. */
  get mayEnd(): boolean {
    return this.#ground.w[S.LOSSES]! > 0 && !this.#ground.hasLostMonitor;
  }

  /** Ends the monitor's thread, which lets all waiting threads continue. */
  end(): void {
    const { w } = this.#ground;
    const before = this.#threads.inCall;
    w[S.LOSSES]!--;
    beginReading(w.subarray(S.READING, S.READING + 1));
    this.#threads.letAllGo();
    const later = (this.#threads.inCall & ~before) << LATER_CALLS;
    w[S.LOST] = this.isTakenOver ? UNHEARD | UNCONCLUDED | later : UNHEARD;
    // A lease that it had claimed stays claimed.
    this.#machine.state = this.#first;
  }

  /** True if the engine may be notified of the end: after all messages. */
  get mayHearLoss(): boolean {
    return this.#isUnheard && !this.hasMessage;
  }

  /** Notes that the engine has announced every chunk. Of two losses in succession only the last is concluded then. */
  lossIsHeard(): void {
    this.#ground.w[S.LOST] = UNCONCLUDED;
  }

  /** True if the engine may conclude what the monitor had begun and announced: no thread is in a call any more. */
  get mayConcludeLoss(): boolean {
    return this.isTakenOver && (this.#threads.inCall & ~(this.#ground.w[S.LOST]! >> LATER_CALLS)) === 0;
  }

  lossIsConcluded(): void {
    this.#ground.w[S.LOST] = this.#isUnheard ? UNHEARD : 0;
  }

  get #isUnheard(): boolean {
    return (this.#ground.w[S.LOST]! & UNHEARD) !== 0;
  }

  /** True if the engine has announced every chunk in place of the monitor. */
  get isTakenOver(): boolean {
    return (this.#ground.w[S.LOST]! & UNCONCLUDED) !== 0;
  }

  get mayFollowAgain(): boolean {
    const { w, hasLostMonitor } = this.#ground;
    return w[S.LOST] === UNCONCLUDED && hasLostMonitor && w[S.RESTARTS]! > 0;
  }

  /** Starts another monitor, which follows the same memory. */
  followAgain(): void {
    this.#ground.w[S.RESTARTS]!--;
  }

  // In words.

  /** Name of the state that the machine is in. */
  get stateName(): string {
    const names = Object.entries(MONITOR).map(([name, doing]) => [doing, name] as const);
    return new Map<number, string>(names).get(this.#machine.state.doing)!.toLowerCase().replace("_", " ");
  }

  /** Renders the next message. */
  get nextMessage(): string {
    const report = this.#message;
    switch (report.kind) {
      case "start": {
        const threads = namesOfThreads(this.startsFor);
        return `${threads} ${threads.includes(" ") ? "are" : "is"} about to discard: drain`;
      }
      case "end":
        return `the start for ${namesOfThreads(this.#ground.w[this.#ground.at.starts + report.id - 1]!)} is over`;
      case "concluded":
        return "what it had announced is over";
      default:
        return `pages from ${this.#ground.pageAt(report.gone.start)} on are unmapped`;
    }
  }

  /** Renders the next step. */
  get nextStep(): string {
    const { doing, callers, late } = this.#machine.state;
    switch (doing) {
      case MONITOR.DRAINING:
        return "sees that its start is answered";
      case MONITOR.ANNOUNCING:
        return `announces what isn't drained for ${namesOfThreads(this.#bitsOf(callers))}`;
      case MONITOR.CLAIMING:
        return "looks for the next lease to drop";
      case MONITOR.EMPTYING:
        return "empties the slot of the lease that it has claimed";
      case MONITOR.RETURNING:
        return "says that its update has returned";
      case MONITOR.READING:
        return "reads the next event";
      case MONITOR.ANNOUNCING_LATE:
        return `announces pages from ${this.#ground.pageAt(late!.start)} on: no thread was seen waiting for that`;
      default:
        return "has read all events";
    }
  }

  #bitsOf(callers: readonly Caller[]): number {
    return callers.reduce((bits, caller) => bits | this.#threads.bitOf(caller), 0);
  }
}
