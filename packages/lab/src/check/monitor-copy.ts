/**
 * The monitor's thread, and the threads that it lets wait: what core/monitor-program.ts does, in steps that anything may come
 * between. What they call of the core is the core's.
 */

import {
  announce,
  announceUnmap,
  beginReading,
  CHUNK_WORDS,
  type Chunks,
  endReading,
  LEASE,
  settle,
} from "pinless/portable";
import { callersIn, type Ground, inWords, nameOfThread, namesOfThreads } from "./context.js";
import type { Rules } from "./invariants.js";
import type { CheckKernel } from "./kernel.js";
import {
  ASKED,
  BEGUN,
  COVERED,
  DRAINING,
  END,
  GIVEN_UP,
  type Messages,
  SETTLED,
  START,
  TURN,
  UNMAPPED,
} from "./monitor-messages-copy.js";
import type { ForeignCall } from "./scenario.js";
import * as S from "./state.js";

/** What the monitor does next (the MONITOR word). */
const WATCHING = 0;
const WAITING_FOR_DRAIN = 1;
const ANNOUNCING = 2;
const CLAIMING = 3;
const EMPTYING = 4;
const RETURNING = 5;
const READ_NEXT = 6;
const ANNOUNCING_LATE = 7;

/** Its thread has ended (core/foreign-calls.ts, `lost`). */
const ENDED = 8;

/** In LOST: the engine is to hear of that; and then, when nobody can be in a call any more, to settle. */
const UNHEARD = 1;
const UNSETTLED = 2;

/** In MONITOR_CALLERS: nobody was seen, and all that's followed is announced. */
const NOBODY = -1;

/** What the end of foreign calls settles (F_SETTLES). */
const BY_START = 1;
const BY_ANNOUNCEMENT = 2;
/** An announcement for whom nobody saw: over some time after it must have left. */
const BY_TIME = 3;

export class Monitor {
  readonly #ground: Ground;
  readonly #kernel: CheckKernel;
  readonly #rules: Rules;
  readonly #messages: Messages;
  readonly #reading: Int32Array;
  /** The chunks that each foreign call is about. */
  readonly #chunks: readonly Chunks[];
  /** Which of them discard, and which are our own thread's: a bit each. */
  readonly #discards: number;
  readonly #own: number;

  constructor(ground: Ground, kernel: CheckKernel, rules: Rules, messages: Messages) {
    this.#ground = ground;
    this.#kernel = kernel;
    this.#rules = rules;
    this.#messages = messages;
    this.#reading = ground.w.subarray(S.READING, S.READING + 1);
    const { words } = ground.table;
    this.#chunks = ground.scenario.foreign.map((_, f) => ({ words, ...ground.chunksOfCall(f) }));
    this.#discards = this.#those((f) => this.#call(f).call === "discard");
    this.#own = this.#those((f) => this.#call(f).own);
  }

  #say(line: string): void {
    this.#ground.tell?.(line);
  }

  #chunksOf(call: number): Chunks {
    return this.#chunks[call]!;
  }

  #call(call: number): ForeignCall {
    return this.#ground.scenario.foreign[call]!;
  }

  /** Of all foreign calls those of which this is so, a bit each. */
  #those(are: (call: number) => boolean): number {
    let bits = 0;
    for (let f = 0; f < this.#ground.scenario.foreign.length; f++) if (are(f)) bits |= 1 << f;
    return bits;
  }

  // The threads of other code.

  /** What is done to memory once nobody follows it any more isn't noticed. */
  mayCall(call: number): boolean {
    return this.#ground.foreign(call, S.F_STATE) === S.IDLE && !this.#ground.hasLostMonitor;
  }

  call(call: number): void {
    const ground = this.#ground;
    const { call: kind, own, unseen, first, last } = this.#call(call);
    ground.setForeign(call, S.F_STATE, unseen ? S.RAISED : S.IN_CALL);
    S.push(ground.w, ground.at.raised, call);
    if (own) ground.w[S.BLOCKED] = call + 1;
    if (kind === "discard") return;
    for (let page = first; page <= last; page++) ground.machine.memory.munmap(page);
    this.#rules.taken(first, last, false);
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

  /** Its pages go, and it leaves the call. */
  goOn(call: number): void {
    const ground = this.#ground;
    const { first, last } = this.#call(call);
    for (let page = first; page <= last; page++) ground.machine.memory.discard(page);
    this.#rules.taken(first, last, true);
    ground.setForeign(call, S.F_STATE, S.LEFT);
    if (ground.w[S.BLOCKED] === call + 1) ground.w[S.BLOCKED] = 0;
  }

  // The monitor.

  /** Who sleeps until their events are read, and so can be seen: a bit each. */
  get visible(): number {
    return this.#those((f) => this.#ground.foreign(f, S.F_STATE) === S.IN_CALL);
  }

  get maySee(): boolean {
    return this.#ground.w[S.MONITOR] === WATCHING && this.visible !== 0;
  }

  /** All who wait, at once. The engine's own thread can't drain while it waits itself. */
  see(): void {
    const { w } = this.#ground;
    const callers = this.visible;
    w[S.MONITOR_CALLERS] = callers;
    w[S.MONITOR_UNREAD] = callers;
    const discarding = this.#discarding(callers);
    if (discarding !== 0 && (discarding & this.#own) === 0) {
      w[S.DRAIN] = ASKED + 8 * discarding;
      this.#messages.post(START, discarding);
      w[S.MONITOR] = WAITING_FOR_DRAIN;
    } else w[S.MONITOR] = ANNOUNCING;
  }

  #discarding(callers: number): number {
    return callers & this.#discards;
  }

  /** An event that nobody waits for who could be seen, for as long as the monitor has patience. */
  get maySeeNobody(): boolean {
    const { w, at } = this.#ground;
    return w[S.MONITOR] === WATCHING && w[at.raised]! > 0 && this.visible === 0;
  }

  /** It may be about anything: all is announced until it's known. */
  seeNobody(): void {
    const { w } = this.#ground;
    announce(this.#everything());
    beginReading(this.#reading);
    w[S.MONITOR_CALLERS] = NOBODY;
    w[S.MONITOR] = READ_NEXT;
  }

  #everything(): Chunks {
    const { table } = this.#ground;
    return { words: table.words, first: 0, last: table.chunks - 1 };
  }

  /** Whether it sees that our own memory thread waits. */
  get maySeeOurs(): boolean {
    return this.#ground.w[S.MONITOR] === WATCHING && this.#ground.w[S.OPERATING]! > 0;
  }

  /** Ours: read at once. */
  seeOurs(): void {
    const { w } = this.#ground;
    w[S.OPERATING] = -w[S.OPERATING]!;
  }

  /** Whether it can go on with what it's in. */
  get mayStep(): boolean {
    const { w } = this.#ground;
    const state = w[S.MONITOR]!;
    if (state === ENDED) return false;
    if (state !== WAITING_FOR_DRAIN) return state !== WATCHING;
    const stands = w[S.DRAIN]! % 8;
    return stands === BEGUN || stands === COVERED;
  }

  step(): void {
    const { w } = this.#ground;
    switch (w[S.MONITOR]) {
      case WAITING_FOR_DRAIN:
        this.#drained();
        break;
      case ANNOUNCING:
        this.#announce();
        break;
      case CLAIMING:
        this.#claim();
        break;
      case EMPTYING:
        this.#say(`the monitor empties slot ${w[S.MONITOR_SLOT]! - 1}`);
        this.#kernel.empty(w[S.MONITOR_SLOT]! - 1);
        w[S.MONITOR] = RETURNING;
        break;
      case RETURNING:
        this.#kernel.returned(w[S.MONITOR_SLOT]! - 1);
        w[S.MONITOR_SLOT] = 0;
        w[S.MONITOR] = CLAIMING;
        break;
      case READ_NEXT:
        this.#readNext();
        break;
      case ANNOUNCING_LATE:
        this.#announceLate();
        break;
    }
  }

  #drained(): void {
    const { w } = this.#ground;
    const callers = w[S.MONITOR_CALLERS]!;
    const discarding = this.#discarding(callers);
    if (w[S.DRAIN]! % 8 === BEGUN) {
      this.#settlesTogether(discarding, BY_START);
      w[S.MONITOR] = discarding === callers ? READ_NEXT : ANNOUNCING;
      return;
    }
    this.#say("what it asked for is covered by an invalidation of the program's");
    this.#messages.post(END, discarding);
    w[S.MONITOR] = ANNOUNCING;
  }

  #settlesTogether(callers: number, by: number): void {
    for (const f of callersIn(callers)) {
      this.#ground.setForeign(f, S.F_SETTLES, by);
      this.#ground.setForeign(f, S.F_TOGETHER, callers);
    }
  }

  get mayGiveUp(): boolean {
    const { w } = this.#ground;
    return w[S.MONITOR] === WAITING_FOR_DRAIN && [ASKED, TURN, DRAINING].includes(w[S.DRAIN]! % 8);
  }

  /** The engine's thread, the device or somebody's invalidation takes too long. */
  giveUp(): void {
    const { w } = this.#ground;
    const discarding = this.#discarding(w[S.MONITOR_CALLERS]!);
    w[S.DRAIN] = GIVEN_UP + 8 * discarding;
    this.#messages.post(END, discarding);
    w[S.MONITOR] = ANNOUNCING;
  }

  /** Of those who were seen: what isn't drained, or has gone already. */
  #announce(): void {
    const callers = this.#ground.w[S.MONITOR_CALLERS]!;
    const drained = this.#those((f) => this.#ground.foreign(f, S.F_SETTLES) === BY_START);
    const discarding = this.#discarding(callers) & ~drained;
    this.#settlesTogether(discarding, BY_ANNOUNCEMENT);
    this.#announceFor(callers & ~(this.#discarding(callers) & drained));
  }

  /** Everywhere first, and then the leases go. */
  #announceFor(callers: number): void {
    const { w } = this.#ground;
    for (const f of callersIn(callers)) {
      this.#say(`the monitor announces ${inWords(this.#call(f))}`);
      announce(this.#chunksOf(f));
      if (this.#call(f).call === "unmap") announceUnmap(this.#chunksOf(f));
    }
    w[S.MONITOR_CLAIM] = callers;
    w[S.MONITOR_CHUNK] = 0;
    w[S.MONITOR] = CLAIMING;
  }

  /** The next lease of these chunks, if there's one left. */
  #claim(): void {
    const { w, table, slots } = this.#ground;
    const claiming = callersIn(w[S.MONITOR_CLAIM]!).map((f) => this.#chunksOf(f));
    for (; slots > 0 && w[S.MONITOR_CHUNK]! < table.chunks; w[S.MONITOR_CHUNK]!++) {
      const chunk = w[S.MONITOR_CHUNK]!;
      if (!claiming.some(({ first, last }) => first <= chunk && chunk <= last)) continue;
      const slot = table.words[chunk * CHUNK_WORDS + LEASE]! - 1;
      if (slot < 0 || !this.#kernel.claim(slot)) continue;
      this.#say(`the monitor makes the lease in slot ${slot} its own to drop`);
      w[S.MONITOR_SLOT] = slot + 1;
      w[S.MONITOR_CHUNK]!++;
      w[S.MONITOR] = EMPTYING;
      return;
    }
    w[S.MONITOR_CLAIM] = 0;
    w[S.MONITOR_CHUNK] = 0;
    if (w[S.MONITOR_LATE] !== 0) this.#lateIsAnnounced();
    else w[S.MONITOR] = READ_NEXT;
  }

  /** The oldest event, which lets its caller go; and what follows where it was the last that somebody seen waits for. */
  #readNext(): void {
    const { w, at } = this.#ground;
    const unread = w[S.MONITOR_UNREAD]!;
    if (unread === w[S.MONITOR_CALLERS]) beginReading(this.#reading);
    const f = S.shift(w, at.raised);
    this.#say(`the monitor reads ${nameOfThread(f)}'s event`);
    this.#letGo(f);
    if ((unread & (1 << f)) === 0) {
      w[S.MONITOR_LATE] = f + 1;
      w[S.MONITOR] = ANNOUNCING_LATE;
      return;
    }
    w[S.MONITOR_UNREAD] = unread & ~(1 << f);
    if (w[S.MONITOR_UNREAD] === 0) this.#haveRead();
  }

  #letGo(f: number): void {
    const ground = this.#ground;
    const { call, own, first, last } = this.#call(f);
    if (call === "discard") {
      ground.setForeign(f, S.F_STATE, S.LET_GO);
      return;
    }
    ground.setForeign(f, S.F_STATE, S.LEFT);
    if (own) ground.w[S.BLOCKED] = 0;
    this.#rules.goneIsKnown(first, last);
  }

  /** Somebody's who began to wait before those that were seen. Its thread goes on, while nothing of ours begins. */
  #announceLate(): void {
    const f = this.#ground.w[S.MONITOR_LATE]! - 1;
    this.#say(`nobody had seen ${nameOfThread(f)} wait`);
    if (this.#call(f).call === "discard") this.#settlesTogether(1 << f, BY_TIME);
    this.#announceFor(1 << f);
  }

  #lateIsAnnounced(): void {
    const { w } = this.#ground;
    const f = w[S.MONITOR_LATE]! - 1;
    w[S.MONITOR_LATE] = 0;
    if (this.#call(f).call === "unmap") this.#messages.post(UNMAPPED, 1 << f, 1 << f);
    if (w[S.MONITOR_CALLERS] !== NOBODY) {
      w[S.MONITOR] = READ_NEXT;
      return;
    }
    if (endReading(this.#reading)) this.#messages.post(SETTLED);
    settle(this.#everything());
    this.#messages.post(SETTLED);
    this.#watch();
  }

  #haveRead(): void {
    const { w } = this.#ground;
    const callers = w[S.MONITOR_CALLERS]!;
    if (endReading(this.#reading)) this.#messages.post(SETTLED);
    const discarding = this.#discarding(callers);
    const unmapped = callers & ~discarding;
    let left = unmapped;
    for (const f of callersIn(unmapped)) {
      left &= ~(1 << f);
      this.#messages.post(UNMAPPED, 1 << f, left === 0 ? unmapped : 0);
    }
    this.#watch();
    // The engine's thread does nothing until it has left its call.
    if (discarding !== 0 && (discarding & ~this.#own) === 0) this.#over(discarding);
  }

  #watch(): void {
    const { w } = this.#ground;
    w[S.MONITOR] = WATCHING;
    w[S.MONITOR_CALLERS] = 0;
    w[S.DRAIN] = 0;
  }

  /** What was begun or announced for these is over. */
  #over(callers: number): void {
    const by = this.#ground.foreign(callersIn(callers)[0]!, S.F_SETTLES);
    this.#settlesTogether(callers, 0);
    for (const f of callersIn(callers)) this.#ground.setForeign(f, S.F_TOGETHER, 0);
    if (by === BY_START) this.#messages.post(END, callers);
    else {
      for (const f of callersIn(callers)) settle(this.#chunksOf(f));
      this.#messages.post(SETTLED);
    }
  }

  /** Whether it can see that a caller, and all that it was served with, have left their calls. Asked of the first of them. */
  mayLook(call: number): boolean {
    const ground = this.#ground;
    const looks = ground.w[S.MONITOR] === WATCHING || ground.w[S.MONITOR] === WAITING_FOR_DRAIN;
    const by = ground.foreign(call, S.F_SETTLES);
    if (!looks || by === 0) return false;
    const together = ground.foreign(call, S.F_TOGETHER);
    const waited = by === BY_TIME ? together : together & ~this.#own;
    const left = this.#those((f) => ground.foreign(f, S.F_STATE) === S.LEFT);
    return (together & -together) === 1 << call && (waited & ~left) === 0;
  }

  look(call: number): void {
    this.#over(this.#ground.foreign(call, S.F_TOGETHER));
  }

  /** Whom `look` finds. */
  together(call: number): string {
    const callers = this.#ground.foreign(call, S.F_TOGETHER);
    return `${namesOfThreads(callers)} ${callersIn(callers).length > 1 ? "have" : "has"}`;
  }

  // Its end.

  /** In the middle of whatever it does, for other code or for a lease. */
  get mayEnd(): boolean {
    const { w } = this.#ground;
    return w[S.MONITOR] !== ENDED && w[S.OPERATING] === 0;
  }

  /** Everybody goes on who waits for it. */
  end(): void {
    const { w, at } = this.#ground;
    w[S.MONITOR] = ENDED;
    w[S.LOST] = UNHEARD;
    beginReading(this.#reading);
    while (w[at.raised]! > 0) this.#letGo(S.shift(w, at.raised));
    // The leases that it was giving back stay where they are.
    w[S.MONITOR_SLOT] = 0;
    w[S.CLOCK_SLOT] = 0;
    w[S.CLOCK_STEP] = 0;
  }

  get mayHearLoss(): boolean {
    const { w, at } = this.#ground;
    // After all that it has said.
    if (w[S.LOST] !== UNSETTLED) return w[S.LOST] === UNHEARD && w[at.messages] === 0;
    return this.#those((f) => this.#ground.foreign(f, S.F_STATE) === S.LET_GO) === 0;
  }

  /** True: everybody has left, and the engine settles what the monitor had begun and announced. False: it has announced everything. */
  heardLoss(): boolean {
    const { w } = this.#ground;
    if (w[S.LOST] === UNHEARD) {
      w[S.LOST] = UNSETTLED;
      endReading(this.#reading);
      return false;
    }
    w[S.LOST] = 0;
    for (let f = 0; f < this.#ground.scenario.foreign.length; f++) this.#ground.setForeign(f, S.F_SETTLES, 0);
    return true;
  }
}
