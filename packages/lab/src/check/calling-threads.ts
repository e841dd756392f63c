/**
 * Threads that make calls on followed memory: those of other code, and the engine's own memory thread; with their
 * events, and their state as the monitor sees it in /proc.
 */

import { type Caller, type MemoryEvent, type Range, RUNNING, type ThreadCalls } from "pinless/portable";
import { type CaseContext, nameOfThread } from "./context.js";
import type { Rules } from "./invariants.js";
import type { ForeignCall } from "./scenario.js";
import * as S from "./state.js";

export const OWN_TID = 1;
export const MEMORY_TID = 2;
const FIRST_TID = 3;
/** Calls of other code's threads as /proc shows them; a scenario has at most three. */
const CALLS = ["call 1", "call 2", "call 3"] as const;

export class CallingThreads implements ThreadCalls {
  readonly #ground: CaseContext;
  readonly #rules: Rules;
  /**
   * The callers as /proc shows them: one for each foreign call, then the memory thread once for each of the program's
   * invalidations.
   */
  readonly #callers: readonly Caller[];
  readonly #calls: number;

  constructor(ground: CaseContext, rules: Rules) {
    this.#ground = ground;
    this.#rules = rules;
    const { foreign, invalidations } = ground.scenario;
    this.#calls = foreign.length;
    this.#callers = [
      ...foreign.map((call, f): Caller => {
        const kind = call.call === "unmap" ? "unmap" : "remove";
        const tid = call.own ? OWN_TID : FIRST_TID + f;
        return { tid, kind, ranges: [ground.range(call)], call: CALLS[f]! };
      }),
      ...invalidations.map((_, j): Caller => {
        const ranges = [ground.range(ground.pagesOf(j))];
        return { tid: MEMORY_TID, kind: "remove", ranges, call: `our operation ${j}` };
      }),
    ];
  }

  #call(call: number): ForeignCall {
    return this.#ground.scenario.foreign[call]!;
  }

  /** The number of a call that `callers` has shown. */
  numberOf(caller: Caller): number {
    return this.#callers.indexOf(caller);
  }

  /** Bit set of the foreign calls to which these ranges belong. */
  callsOf(ranges: readonly Range[]): number {
    return this.#those((f) => ranges.includes(this.#callers[f]!.ranges[0]!));
  }

  /** Bit set of the foreign calls for which the function is true. */
  #those(are: (call: number) => boolean): number {
    let bits = 0;
    for (let f = 0; f < this.#calls; f++) if (are(f)) bits |= 1 << f;
    return bits;
  }

  // Their actions.

  /**
   * True if a call may begin. Without a monitor only a discard may: it ends at once, before memory is followed again.
   */
  mayCall(call: number): boolean {
    const { w, scenario } = this.#ground;
    if (this.#ground.foreign(call, S.F_STATE) !== S.IDLE) return false;
    if (!this.#ground.hasLostMonitor) return true;
    return scenario.restarts > 0 && w[S.LOST] !== 0 && this.#call(call).call === "discard";
  }

  call(call: number): void {
    const ground = this.#ground;
    const { call: kind, own, unseen, first, last } = this.#call(call);
    if (ground.hasLostMonitor) {
      this.#discard(call);
      return;
    }
    ground.setForeign(call, S.F_STATE, unseen ? S.RAISED : S.IN_CALL);
    S.push(ground.w, ground.at.raised, call);
    if (own) ground.w[S.BLOCKED] = call + 1;
    if (kind === "discard") return;
    for (let page = first; page <= last; page++) ground.machine.memory.munmap(page);
    this.#rules.requests.taken(this.#call(call), "after");
  }

  maySleep(call: number): boolean {
    return this.#ground.foreign(call, S.F_STATE) === S.RAISED;
  }

  sleep(call: number): void {
    this.#ground.setForeign(call, S.F_STATE, S.IN_CALL);
  }

  mayGoOn(call: number): boolean {
    return this.#ground.foreign(call, S.F_STATE) === S.LET_GO;
  }

  /**
   * Continues a thread whose event was read. Unless it raises another, for the next mapping of its memory, its pages
   * are freed and it leaves the call: the kernel may flush the TLB of the first mapping only after the last.
   */
  goOn(call: number): void {
    if (this.hasMore(call)) {
      this.#raiseNext(call);
      return;
    }
    this.#discard(call);
    if (this.#ground.w[S.BLOCKED] === call + 1) this.#ground.w[S.BLOCKED] = 0;
  }

  /** True if a call raises another event once the present one was read. Without a monitor it raises none. */
  hasMore(call: number): boolean {
    return !this.#ground.hasLostMonitor && this.#ground.foreign(call, S.F_READ) + 1 < this.#call(call).events.length;
  }

  #raiseNext(call: number): void {
    const ground = this.#ground;
    ground.setForeign(call, S.F_READ, ground.foreign(call, S.F_READ) + 1);
    ground.setForeign(call, S.F_STATE, this.#call(call).unseen ? S.RAISED : S.IN_CALL);
    S.push(ground.w, ground.at.raised, call);
  }

  #discard(call: number): void {
    const { first, last } = this.#call(call);
    for (let page = first; page <= last; page++) this.#ground.machine.memory.discard(page);
    this.#rules.requests.taken(this.#call(call), "before");
    this.#ground.setForeign(call, S.F_STATE, S.LEFT);
  }

  /** Makes the memory thread's call for one of the program's invalidations. */
  operate(invalidation: number): void {
    const ground = this.#ground;
    ground.w[S.OPERATING] = invalidation + 1;
    if (ground.hasLostMonitor) ground.w[S.OPERATING] = -(invalidation + 1);
    else S.push(ground.w, ground.at.raised, this.#calls);
  }

  /** True if the call has returned. */
  hasOperated(invalidation: number): boolean {
    return this.#ground.w[S.OPERATING] === -(invalidation + 1);
  }

  // Their events.

  get hasEvent(): boolean {
    return this.#ground.w[this.#ground.at.raised]! > 0;
  }

  /** Reads the oldest event, which lets its thread go; null if there is none. */
  next(): MemoryEvent | null {
    if (!this.hasEvent) return null;
    const { w, at, tell } = this.#ground;
    const raised = S.shift(w, at.raised);
    const isForeign = raised < this.#calls;
    const { kind, ranges } = this.#callers[isForeign ? raised : this.#calls + w[S.OPERATING]! - 1]!;
    const range = isForeign ? this.#eventOf(raised) : ranges[0]!;
    tell?.(`the monitor reads ${isForeign ? `${nameOfThread(raised)}'s` : "our memory thread's"} event`);
    this.#letGo(raised);
    return { kind, ...range };
  }

  #eventOf(call: number): Range {
    return this.#ground.range(this.#call(call).events[this.#ground.foreign(call, S.F_READ)]!);
  }

  /** Lets all waiting threads continue, because the monitor's end closes its descriptor. */
  letAllGo(): void {
    while (this.hasEvent) this.#letGo(S.shift(this.#ground.w, this.#ground.at.raised));
  }

  #letGo(f: number): void {
    const ground = this.#ground;
    if (f === this.#calls) {
      ground.w[S.OPERATING]! *= -1;
      return;
    }
    const { call, own, first, last } = this.#call(f);
    if (call === "discard") {
      ground.setForeign(f, S.F_STATE, S.LET_GO);
      return;
    }
    if (this.hasMore(f)) {
      this.#raiseNext(f);
      return;
    }
    ground.setForeign(f, S.F_STATE, S.LEFT);
    if (own) ground.w[S.BLOCKED] = 0;
    this.#rules.requests.goneIsKnown(first, last);
  }

  // Their state as the monitor sees it.

  /** Bit set of the foreign calls whose threads sleep until their events are read. */
  get visible(): number {
    return this.#those((f) => this.#ground.foreign(f, S.F_STATE) === S.IN_CALL);
  }

  get isAnyVisible(): boolean {
    return this.visible !== 0 || this.#ground.w[S.OPERATING]! > 0;
  }

  callers(): Caller[] {
    const operating = this.#ground.w[S.OPERATING]!;
    return this.#callers.filter((_, i) =>
      i < this.#calls ? this.#ground.foreign(i, S.F_STATE) === S.IN_CALL : operating === i - this.#calls + 1,
    );
  }

  callOf(tid: number): string {
    const state = this.#ground.foreign(tid - FIRST_TID, S.F_STATE);
    return state === S.LEFT ? "elsewhere" : state === S.LET_GO ? RUNNING : CALLS[tid - FIRST_TID]!;
  }

  waitsForReader(tid: number): boolean {
    return this.#ground.foreign(tid - FIRST_TID, S.F_STATE) === S.IN_CALL;
  }

  cpuMs(): number {
    return 0;
  }

  /** Bit set of the foreign calls of which an event was read and whose threads haven't left. */
  get inCall(): number {
    return this.#those((f) => {
      const state = this.#ground.foreign(f, S.F_STATE);
      return state === S.LET_GO || (state !== S.LEFT && this.#ground.foreign(f, S.F_READ) > 0);
    });
  }

  bitOf({ tid }: Caller): number {
    return tid < FIRST_TID ? 0 : 1 << (tid - FIRST_TID);
  }
}
