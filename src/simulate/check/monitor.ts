/**
 * The monitor's thread, and the threads that it lets wait: what core/monitor-program.ts and lease-clock.ts do, in steps that anything may come
 * between. What they call of the core is the core's.
 */

import { announce, type Chunks, settle } from "../../core/announcements.js";
import { violated } from "../../core/assert.js";
import { CHUNK_WORDS, LEASE } from "../../core/chunk-table.js";
import type { ForeignCalls } from "../../core/foreign-calls.js";
import { forEachDue } from "../../core/lease-table.js";
import { type Ground, inWords, nameOfThread } from "./ground.js";
import type { CheckKernel } from "./kernel.js";
import type { Rules } from "./rules.js";
import * as S from "./state.js";

/** What the monitor does next (the MONITOR word). */
const WATCHING = 0;
const WAITING_FOR_DRAIN = 1;
const ANNOUNCING = 2;
const CLAIMING = 3;
const EMPTYING = 4;
const RETURNING = 5;
const READING = 6;

/** How a start stands, as in core/monitor-messages.ts. */
const ASKED = 0;
const TURN = 1;
const DRAINING = 2;
const BEGUN = 3;
const COVERED = 4;
const GIVEN_UP = 5;

/** Messages to the engine's thread: kind + 8 × foreign call. */
const START = 0;
const END = 1;
const SETTLED = 2;
const UNMAPPED = 3;

/** What a foreign call's end settles (F_SETTLES). */
const BY_START = 1;
const BY_ANNOUNCEMENT = 2;

export class Monitor {
  readonly #ground: Ground;
  readonly #kernel: CheckKernel;
  readonly #rules: Rules;
  readonly #calls: () => ForeignCalls;
  /** For the starts of the core, by the number of the foreign call. */
  readonly readies: readonly (() => void)[];

  constructor(ground: Ground, kernel: CheckKernel, rules: Rules, calls: () => ForeignCalls) {
    this.#ground = ground;
    this.#kernel = kernel;
    this.#rules = rules;
    this.#calls = calls;
    this.readies = ground.scenario.foreign.map((_, f) => () => this.#answer(f, BEGUN));
  }

  #say(line: string): void {
    this.#ground.tell?.(line);
  }

  #chunksOf(call: number): Chunks {
    const { first, last } = this.#ground.chunksOf(this.#ground.scenario.invalidations.length + call);
    return { words: this.#ground.table.words, first, last };
  }

  // The threads of other code.

  mayCall(call: number): boolean {
    return this.#ground.foreign(call, S.F_STATE) === S.IDLE;
  }

  call(call: number): void {
    const ground = this.#ground;
    const { call: kind, own, first, last } = ground.scenario.foreign[call]!;
    ground.setForeign(call, S.F_STATE, S.IN_CALL);
    if (own) ground.w[S.BLOCKED] = call + 1;
    if (kind === "discard") return;
    for (let page = first; page <= last; page++) ground.machine.munmap(page);
    this.#rules.taken(first, last, false);
  }

  mayGoOn(call: number): boolean {
    return this.#ground.foreign(call, S.F_STATE) === S.LET_GO;
  }

  /** Its pages go, and it leaves the call. */
  goOn(call: number): void {
    const ground = this.#ground;
    const { first, last } = ground.scenario.foreign[call]!;
    for (let page = first; page <= last; page++) ground.machine.discard(page);
    this.#rules.taken(first, last, true);
    ground.setForeign(call, S.F_STATE, S.LEFT);
    if (ground.w[S.BLOCKED] === call + 1) ground.w[S.BLOCKED] = 0;
  }

  // The monitor.

  /** Whether it sees this call next. */
  maySee(call: number): boolean {
    return this.#ground.w[S.MONITOR] === WATCHING && this.#ground.foreign(call, S.F_STATE) === S.IN_CALL;
  }

  see(call: number): void {
    const { w, at, scenario } = this.#ground;
    const { call: kind, own } = scenario.foreign[call]!;
    w[S.MONITOR_CALL] = call;
    if (kind === "discard" && !own) {
      w[S.DRAIN] = ASKED + 8 * (call + 1);
      S.push(w, at.messages, START + 8 * call);
      w[S.MONITOR] = WAITING_FOR_DRAIN;
    } else w[S.MONITOR] = ANNOUNCING;
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
      case READING:
        this.#read();
        break;
    }
  }

  #drained(): void {
    const { w, at } = this.#ground;
    const call = w[S.MONITOR_CALL]!;
    if (w[S.DRAIN]! % 8 === BEGUN) {
      this.#ground.setForeign(call, S.F_SETTLES, BY_START);
      w[S.MONITOR] = READING;
      return;
    }
    this.#say("what it asked for is covered by an invalidation of the program's");
    S.push(w, at.messages, END + 8 * call);
    w[S.MONITOR] = ANNOUNCING;
  }

  get mayGiveUp(): boolean {
    const { w } = this.#ground;
    return w[S.MONITOR] === WAITING_FOR_DRAIN && [ASKED, TURN, DRAINING].includes(w[S.DRAIN]! % 8);
  }

  /** The engine's thread, the device or somebody's invalidation takes too long. */
  giveUp(): void {
    const { w, at } = this.#ground;
    const call = w[S.MONITOR_CALL]!;
    w[S.DRAIN] = GIVEN_UP + 8 * (call + 1);
    S.push(w, at.messages, END + 8 * call);
    w[S.MONITOR] = ANNOUNCING;
  }

  #announce(): void {
    const { w } = this.#ground;
    const call = w[S.MONITOR_CALL]!;
    this.#say(`the monitor announces ${inWords(this.#ground.scenario.foreign[call]!)}`);
    announce(this.#chunksOf(call));
    this.#ground.setForeign(call, S.F_SETTLES, BY_ANNOUNCEMENT);
    w[S.MONITOR_CHUNK] = this.#chunksOf(call).first;
    w[S.MONITOR] = CLAIMING;
  }

  /** The next lease of these chunks, if there's one left. */
  #claim(): void {
    const { w, table, slots } = this.#ground;
    const { last } = this.#chunksOf(w[S.MONITOR_CALL]!);
    for (; slots > 0 && w[S.MONITOR_CHUNK]! <= last; w[S.MONITOR_CHUNK]!++) {
      const slot = table.words[w[S.MONITOR_CHUNK]! * CHUNK_WORDS + LEASE]! - 1;
      if (slot < 0 || !this.#kernel.claim(slot)) continue;
      this.#say(`the monitor makes the lease in slot ${slot} its own to drop`);
      w[S.MONITOR_SLOT] = slot + 1;
      w[S.MONITOR_CHUNK]!++;
      w[S.MONITOR] = EMPTYING;
      return;
    }
    w[S.MONITOR] = READING;
  }

  /** Which lets the caller go. */
  #read(): void {
    const ground = this.#ground;
    const { w, at } = ground;
    const call = w[S.MONITOR_CALL]!;
    const { call: kind, own, first, last } = ground.scenario.foreign[call]!;
    this.#say(`the monitor reads ${nameOfThread(call)}'s event`);
    w[S.MONITOR] = WATCHING;
    w[S.MONITOR_CALL] = 0;
    w[S.MONITOR_CHUNK] = 0;
    w[S.DRAIN] = 0;
    if (kind === "unmap") {
      ground.setForeign(call, S.F_STATE, S.LEFT);
      if (own) w[S.BLOCKED] = 0;
      ground.setForeign(call, S.F_SETTLES, 0);
      this.#rules.goneIsKnown(first, last);
      S.push(w, at.messages, UNMAPPED + 8 * call);
      return;
    }
    ground.setForeign(call, S.F_STATE, S.LET_GO);
    // The engine's thread does nothing until it has left its call.
    if (own) this.#over(call);
  }

  #over(call: number): void {
    const { w, at } = this.#ground;
    const by = this.#ground.foreign(call, S.F_SETTLES);
    this.#ground.setForeign(call, S.F_SETTLES, 0);
    if (by === BY_START) S.push(w, at.messages, END + 8 * call);
    else {
      settle(this.#chunksOf(call));
      S.push(w, at.messages, SETTLED + 8 * call);
    }
  }

  /** Whether it can see that a caller has left its call. */
  mayLook(call: number): boolean {
    const ground = this.#ground;
    const looks = ground.w[S.MONITOR] === WATCHING || ground.w[S.MONITOR] === WAITING_FOR_DRAIN;
    return looks && ground.foreign(call, S.F_STATE) === S.LEFT && ground.foreign(call, S.F_SETTLES) !== 0;
  }

  look(call: number): void {
    this.#over(call);
  }

  // The lease clock.

  /** A lease that is due while the engine doesn't look, or -1. */
  get due(): number {
    const { w } = this.#ground;
    if (w[S.STALLED] === 0 || w[S.CLOCK_SLOT] !== 0) return -1;
    let due = -1;
    forEachDue(this.#kernel.leases!, w[S.TIME_MS]!, (slot) => {
      if (due < 0) due = slot;
    });
    return due;
  }

  get clockMayStep(): boolean {
    return this.#ground.w[S.CLOCK_SLOT] !== 0 || this.due >= 0;
  }

  clockStep(): void {
    const { w } = this.#ground;
    const slot = w[S.CLOCK_SLOT]! - 1;
    if (slot < 0) {
      const due = this.due;
      if (this.#kernel.claim(due)) w[S.CLOCK_SLOT] = due + 1;
    } else if (w[S.CLOCK_STEP] === 0) {
      this.#kernel.empty(slot);
      w[S.CLOCK_STEP] = 1;
    } else {
      this.#kernel.returned(slot);
      w[S.CLOCK_SLOT] = 0;
      w[S.CLOCK_STEP] = 0;
    }
  }

  // The engine's thread gets the monitor's messages, as core/monitor-clients.ts does.

  deliver(): void {
    const { w, at, scenario } = this.#ground;
    const message = S.shift(w, at.messages);
    const call = Math.floor(message / 8);
    const calls = this.#calls();
    switch (message % 8) {
      case START:
        this.#start(call);
        break;
      case END:
        calls.end(call + 1);
        break;
      case SETTLED:
        calls.settled();
        break;
      case UNMAPPED: {
        const pages = scenario.foreign[call]!;
        for (let page = pages.first; page <= pages.last; page++) this.#ground.flag(page, S.BURIED);
        calls.unmapped(this.#ground.range(pages));
        settle(this.#chunksOf(call));
        calls.settled();
        break;
      }
    }
  }

  #start(call: number): void {
    if (!this.#answer(call, DRAINING)) return;
    const ground = this.#ground;
    const covered = this.#isInsideOurs(call);
    const standing = this.#calls().start(call + 1, [ground.range(ground.scenario.foreign[call]!)], this.readies[call]!);
    if (covered !== (standing === "covered"))
      violated(
        "SELF_EVENT",
        `${nameOfThread(call)}'s call is ${covered ? "" : "not "}inside an invalidation of the program's; the start is ${standing}`,
      );
    if (standing === "covered") this.#answer(call, COVERED);
    else if (standing === "turn") this.#answer(call, TURN);
  }

  #isInsideOurs(call: number): boolean {
    const ground = this.#ground;
    const { first, last } = this.#chunksOf(call);
    return ground.scenario.invalidations.some((_, j) => {
      const chunks = ground.chunksOf(j);
      return ground.invalidation(j, S.I_STATE) === S.BEGUN && chunks.first <= first && last <= chunks.last;
    });
  }

  /** False if the monitor doesn't wait for this any more. */
  #answer(call: number, stands: number): boolean {
    const { w } = this.#ground;
    const word = w[S.DRAIN]!;
    const waits = Math.floor(word / 8) === call + 1 && word % 8 !== GIVEN_UP && word % 8 !== COVERED;
    if (waits) w[S.DRAIN] = stands + 8 * (call + 1);
    return waits;
  }

  /** What's said of the message that comes next. */
  get nextMessage(): string {
    const { w, at } = this.#ground;
    const message = w[at.messages + 1]!;
    const thread = nameOfThread(Math.floor(message / 8));
    return [
      `${thread} is about to discard: drain`,
      `${thread}'s start is over`,
      `what was announced for ${thread} is over`,
      `${thread} has unmapped its pages`,
    ][message % 8]!;
  }
}
