/** Actions of the explorer: enumerates those that are enabled in a state, and applies one. */

import { PINS } from "../model/tables.js";
import * as K from "./action-codes.js";
import { actorOf, inWords } from "./describe.js";
import type { ExploredWorld } from "./explored-world.js";
import { ARM, POPULATE, SUBMIT as SUBMISSION, TAKE } from "./kernel.js";
import type { Scenario } from "./scenario.js";
import * as S from "./state.js";

/**
 * Table of the kinds of actions that are independent: both orders lead to the same state, and neither disables the
 * other. The program's requests change the engine; the device's actions change the ring and the frames in flight. A
 * test explores scenarios with and without this table.
 */
function independence({ scheme, foreign, stalls, lateRelease }: Scenario): Uint8Array {
  const table = new Uint8Array(K.KINDS * K.KINDS);
  const both = (a: number, b: number): void => {
    table[a * K.KINDS + b] = table[b * K.KINDS + a] = 1;
  };
  const program = [K.SUBMIT, K.START, K.CANCEL];
  // Other threads could drop a lease between the two, or one action could free a frame that the other allocates.
  if (foreign.length > 0 || stalls > 0) return table;
  if (scheme !== "direct" && !lateRelease) program.push(K.FINISH);
  const device = [K.COMPLETE, K.FAIL, K.SHORTEN, K.TAG];
  for (const a of program) for (const b of device) both(a, b);
  // If libuv's pool is the device, the end of a request lets the next one begin, which may need a free frame.
  if (scheme !== "direct") for (const b of [...device, K.LET_GO]) both(K.LET_GO, b);
  // Without leases, no frame is touched or allocated before the engine's turn.
  if (scheme !== "io_uring")
    for (const a of [K.SUBMIT, K.CANCEL]) for (const b of [K.LET_GO, K.RECLAIM, K.COMPACT]) both(a, b);
  return table;
}

export class Actions {
  readonly #world: ExploredWorld;
  /** Steps that other threads must still take in the middle of this action. */
  #steps = 0;
  /** True if they could have taken one more. */
  #mayGoOn = false;

  readonly #independent: Uint8Array;
  /** True if other threads can take steps in the middle of a call of the engine's thread. */
  readonly #interrupts: boolean;

  constructor(world: ExploredWorld) {
    this.#world = world;
    const { scenario } = world.ground;
    this.#independent = independence(scenario);
    const { foreign, stalls, refusals, lateEnds, withinCalls, refusedSubmissions } = scenario;
    this.#interrupts =
      foreign.length > 0 || stalls > 0 || refusals > 0 || lateEnds > 0 || withinCalls || refusedSubmissions > 0;
  }

  /**
   * True if the action may be in a sleep set, so that orders that have it later aren't tried. An action with hooks
   * never may: which hooks are possible is known only after it has been done.
   */
  maySleep(action: number): boolean {
    return action < K.ONE_HOOK && !(this.#interrupts && action % K.KINDS <= K.LOOK_AT_CLOCK);
  }

  areIndependent(first: number, second: number): boolean {
    if (first >= K.ONE_HOOK || second >= K.ONE_HOOK) return false;
    return this.#independent[(first % K.KINDS) * K.KINDS + (second % K.KINDS)] === 1;
  }

  /** Writes the enabled actions to `into`; returns their number. */
  list(into: Int32Array): number {
    const { program, ground, monitor, threads } = this.#world;
    const { scenario, w } = ground;
    const { requests, invalidations, foreign } = scenario;
    let count = 0;
    count = this.#machine(into, count);
    if (w[S.BLOCKED] === 0) {
      if (program.mayRunMicrotasks) into[count++] = K.MICROTASKS;
      if (program.mayWake) into[count++] = K.WAKE;
      if (program.mayRunSoon) into[count++] = K.SOON;
      if (program.isFree && monitor.hasMessage) into[count++] = K.MESSAGE;
      for (let j = 0; j < invalidations.length; j++) if (program.mayFinish(j)) into[count++] = K.FINISH + K.KINDS * j;
      for (let i = 0; i < requests.length; i++) if (program.maySubmit(i)) into[count++] = K.SUBMIT + K.KINDS * i;
      for (let j = 0; j < invalidations.length; j++) if (program.mayStart(j)) into[count++] = K.START + K.KINDS * j;
      if (w[S.CANCELS]! > 0)
        for (let i = 0; i < requests.length; i++) if (program.mayCancel(i)) into[count++] = K.CANCEL + K.KINDS * i;
      if (program.mayTick) into[count++] = K.LOOK_AT_CLOCK;
      if (program.isFree && w[S.TICKS]! > 0 && w[S.STALLED] === 0) into[count++] = K.TICK;
      for (let f = 0; f < foreign.length; f++)
        if (foreign[f]!.own && program.isFree && threads.mayCall(f)) into[count++] = K.CALL + K.KINDS * f;
    }
    for (let j = 0; j < invalidations.length; j++) if (program.mayOperate(j)) into[count++] = K.OPERATE + K.KINDS * j;
    for (let f = 0; f < foreign.length; f++)
      if (!foreign[f]!.own && threads.mayCall(f)) into[count++] = K.CALL + K.KINDS * f;
    if (foreign.length > 0 || scenario.stalls > 0) count = this.#monitor(into, count);
    if (monitor.mayEnd) into[count++] = K.LOSE;
    if (monitor.mayFollowAgain) into[count++] = K.FOLLOW_AGAIN;
    if (w[S.BLOCKED] === 0 && program.isFree && monitor.mayHearLoss) into[count++] = K.HEAR_LOSS;
    if (w[S.BLOCKED] === 0 && program.isFree && monitor.mayConcludeLoss)
      into[count++] = K.HEAR_LOSS + K.KINDS * K.CONCLUSION;
    if (w[S.STALLS]! > 0) into[count++] = K.STALL;
    return count;
  }

  #machine(into: Int32Array, from: number): number {
    const { kernel, ground } = this.#world;
    const { scenario, w } = ground;
    let count = from;
    for (let i = 0; i < scenario.requests.length; i++) {
      if (kernel.isInFlight(i)) {
        into[count++] = K.COMPLETE + K.KINDS * i;
        if (w[S.EIOS]! > 0) into[count++] = K.FAIL + K.KINDS * i;
        const { first, last } = scenario.requests[i]!;
        if (w[S.SHORTS]! > 0 && last > first) into[count++] = K.SHORTEN + K.KINDS * i;
      } else if (kernel.isReleasing(i)) into[count++] = K.LET_GO + K.KINDS * i;
    }
    for (let slot = 0; slot < ground.slots; slot++)
      if (ground.slot(slot, S.S_TAG) === 1) into[count++] = K.TAG + K.KINDS * slot;
    for (let page = 0; page < ground.pages; page++) {
      const frame = ground.machine.tables.frameOf(page);
      // Neither reclaim nor compaction takes a page that is absent or pinned.
      if (frame < 0 || ground.machine.frames.frame(frame, PINS) > 0) continue;
      if (w[S.RECLAIMS]! > 0) into[count++] = K.RECLAIM + K.KINDS * page;
      if (w[S.MIGRATIONS]! > 0) into[count++] = K.COMPACT + K.KINDS * page;
    }
    return count;
  }

  #monitor(into: Int32Array, from: number): number {
    const { monitor, threads, ground } = this.#world;
    let count = from;
    for (let f = 0; f < ground.scenario.foreign.length; f++) {
      if (threads.maySleep(f)) into[count++] = K.SLEEP + K.KINDS * f;
      if (threads.mayGoOn(f)) into[count++] = K.GO_ON + K.KINDS * f;
    }
    if (monitor.mayLook("seen")) into[count++] = K.LOOK;
    if (monitor.mayLook("late")) into[count++] = K.MUST_HAVE_LEFT;
    if (monitor.maySee) into[count++] = K.SEE;
    if (monitor.maySeeNoThread) into[count++] = K.SEE_NO_THREAD;
    if (monitor.mayStep) into[count++] = K.MONITOR;
    if (monitor.mayGiveUp) into[count++] = K.GIVE_UP;
    if (monitor.mayTick) into[count++] = K.CLOCK;
    return count;
  }

  /**
   * Adds the variants with hooks of an action that has just been done, since only now is it known which calls it makes.
   * `others` is true if other threads could take a step before it.
   */
  again(action: number, others: boolean, into: Int32Array, from: number): number {
    const { scenario } = this.#world.ground;
    let count = from;
    const hook = Math.floor(action / K.ONE_HOOK);
    if (hook >= K.FIRST_KSWAPD) return count;
    if (hook >= K.FIRST_MEANWHILE) {
      // The variant with one more step of other threads.
      if (this.#mayGoOn && (hook - K.FIRST_MEANWHILE) % K.MOST_STEPS < K.MOST_STEPS - 1)
        into[count++] = action + K.ONE_HOOK;
      return count;
    }
    if (hook > 0) return count;
    const { calls } = this.#world.kernel;
    if (scenario.refusals > 0 && (calls & TAKE) !== 0) into[count++] = action + K.ONE_HOOK * K.REFUSE_TAKE;
    if (scenario.refusals > 0 && (calls & POPULATE) !== 0) into[count++] = action + K.ONE_HOOK * K.REFUSE_POPULATE;
    if ((calls & SUBMISSION) !== 0 && this.#world.ground.w[S.REFUSED_SUBMISSIONS]! > 0)
      into[count++] = action + K.ONE_HOOK * K.REFUSE_SUBMISSION;
    if ((calls & ARM) !== 0 && this.#world.ground.w[S.LATE_ENDS]! > 0) into[count++] = action + K.ONE_HOOK * K.LATE_END;
    for (let i = 0; scenario.withinCalls && i < K.KSWAPD_COMES.length * this.#world.ground.pages; i++) {
      const { call } = K.KSWAPD_COMES[i % K.KSWAPD_COMES.length]!;
      if (this.#world.ground.w[S.RECLAIMS]! > 0 && (calls & call) !== 0)
        into[count++] = action + K.ONE_HOOK * (K.FIRST_KSWAPD + i);
    }
    for (let i = 0; others && i < K.MEANWHILE.length; i++)
      if ((calls & K.MEANWHILE[i]!.call) !== 0)
        into[count++] = action + K.ONE_HOOK * (K.FIRST_MEANWHILE + i * K.MOST_STEPS);
    return count;
  }

  /** True if the monitor or other code's threads can take a step. */
  get othersCanStep(): boolean {
    const { monitor, threads, ground } = this.#world;
    const { foreign, stalls } = ground.scenario;
    if (foreign.length === 0 && stalls === 0) return false;
    if (monitor.mayStep || monitor.maySee || monitor.mayTick) return true;
    return foreign.some(({ own }, f) => threads.maySleep(f) || threads.mayGoOn(f) || (!own && threads.mayCall(f)));
  }

  /** Takes a step of the monitor or of a thread of other code; false if none can. */
  #othersStep(): boolean {
    const { monitor, threads, ground } = this.#world;
    const { foreign } = ground.scenario;
    const going = foreign.findIndex((_, f) => threads.mayGoOn(f));
    const sleeping = foreign.findIndex((_, f) => threads.maySleep(f));
    const calling = foreign.findIndex(({ own }, f) => !own && threads.mayCall(f));
    if (monitor.mayStep) monitor.step();
    else if (monitor.mayTick) monitor.tick();
    else if (going >= 0) threads.goOn(going);
    else if (monitor.maySee) monitor.see();
    else if (sleeping >= 0) threads.sleep(sleeping);
    else if (calling >= 0) threads.call(calling);
    else return false;
    return true;
  }

  /** Applies an action. False if it has no effect, or its hook was never reached. */
  apply(action: number): boolean {
    const { kernel } = this.#world;
    const hook = Math.floor(action / K.ONE_HOOK);
    kernel.calls = 0;
    this.#steps = 0;
    kernel.during = 0;
    kernel.refuse = 0;
    if (hook >= K.FIRST_KSWAPD) {
      this.#steps = 1;
      kernel.during = K.KSWAPD_COMES[(hook - K.FIRST_KSWAPD) % K.KSWAPD_COMES.length]!.call;
      kernel.meanwhile = () => this.#kswapd(Math.floor((hook - K.FIRST_KSWAPD) / K.KSWAPD_COMES.length));
    } else if (hook >= K.FIRST_MEANWHILE) {
      this.#steps = ((hook - K.FIRST_MEANWHILE) % K.MOST_STEPS) + 1;
      kernel.during = K.MEANWHILE[Math.floor((hook - K.FIRST_MEANWHILE) / K.MOST_STEPS)]!.call;
      kernel.meanwhile = this.#meanwhile;
    } else if (hook === K.LATE_END) {
      if (this.#world.ground.w[S.LATE_ENDS] === 0) return false;
      this.#world.ground.w[S.LATE_ENDS]!--;
      this.#steps = 1;
      kernel.during = ARM;
      kernel.meanwhile = this.#lateEnd;
    } else if (hook === K.REFUSE_SUBMISSION) {
      if (this.#world.ground.w[S.REFUSED_SUBMISSIONS] === 0) return false;
      this.#world.ground.w[S.REFUSED_SUBMISSIONS]!--;
      kernel.refuse = SUBMISSION;
    } else if (hook > 0) {
      if (this.#world.ground.w[S.REFUSALS] === 0) return false;
      kernel.refuse = hook === K.REFUSE_TAKE ? TAKE : POPULATE;
      this.#world.ground.w[S.REFUSALS]!--;
    }
    const done = this.#act(action % K.KINDS, Math.floor(action / K.KINDS) % K.OBJECTS);
    return done && this.#steps === 0 && kernel.refuse === 0;
  }

  readonly #meanwhile = (): void => {
    while (this.#steps > 0 && this.#othersStep()) this.#steps--;
    this.#mayGoOn = this.othersCanStep;
  };

  #kswapd(page: number): void {
    const { machine, w } = this.#world.ground;
    if (w[S.RECLAIMS] === 0 || machine.tables.frameOf(page) < 0 || machine.memory.reclaim(page) !== 0) return;
    w[S.RECLAIMS]!--;
    machine.memory.load(page);
    this.#steps = 0;
  }

  /** Ends the first request in flight, or posts the first tag that is due. */
  readonly #lateEnd = (): void => {
    const { kernel, ground } = this.#world;
    const request = ground.scenario.requests.findIndex((_, i) => kernel.isInFlight(i));
    if (request >= 0) kernel.complete(request, "whole");
    for (let slot = 0; request < 0 && slot < ground.slots; slot++)
      if (ground.slot(slot, S.S_TAG) === 1) kernel.postTag(slot);
    this.#steps = 0;
  };

  #act(kind: number, object: number): boolean {
    if (kind < K.COMPLETE) return this.#actOfEngine(kind, object);
    return kind < K.CALL ? this.#actOfMachine(kind, object) : this.#actOfOthers(kind, object);
  }

  /** The engine's own thread: its program, its loop and its clock. */
  #actOfEngine(kind: number, object: number): boolean {
    const { program, ground } = this.#world;
    const { w } = ground;
    this.#world.engineSteps();
    switch (kind) {
      case K.SUBMIT:
        program.submit(object);
        break;
      case K.START:
        program.start(object);
        break;
      case K.OPERATE:
        program.operate(object);
        break;
      case K.FINISH:
        program.finish(object);
        break;
      case K.CANCEL:
        program.cancel(object);
        break;
      case K.MICROTASKS:
        this.#world.runMicrotasks();
        break;
      case K.SOON:
        this.#world.runSoon();
        break;
      case K.WAKE:
        program.wake();
        break;
      case K.MESSAGE:
        this.#world.hearMonitor();
        break;
      case K.TICK:
      case K.STALL:
        w[S.TIME_MS]! += 8;
        w[kind === K.TICK ? S.TICKS : S.STALLS]!--;
        if (kind === K.TICK) program.tick();
        else w[S.STALLED] = 1;
        break;
      case K.LOOK_AT_CLOCK:
        program.tick();
        break;
      case K.HEAR_LOSS:
        this.#world.hearLoss(object);
        break;
    }
    return true;
  }

  /** The device and the kernel's memory management. */
  #actOfMachine(kind: number, object: number): boolean {
    const { kernel, ground } = this.#world;
    const { w, machine } = ground;
    switch (kind) {
      case K.COMPLETE:
        kernel.complete(object, "whole");
        break;
      case K.FAIL:
        w[S.EIOS]!--;
        kernel.complete(object, "EIO");
        break;
      case K.SHORTEN:
        w[S.SHORTS]!--;
        kernel.complete(object, "short");
        break;
      case K.LET_GO:
        kernel.release(object);
        break;
      case K.TAG:
        kernel.postTag(object);
        break;
      case K.RECLAIM:
        w[S.RECLAIMS]!--;
        return machine.memory.reclaim(object) === 0;
      case K.COMPACT:
        w[S.MIGRATIONS]!--;
        return machine.memory.migrate(object) === 0;
    }
    return true;
  }

  /** Other code's threads and the monitor, with the end of its thread. */
  #actOfOthers(kind: number, object: number): boolean {
    const { monitor, threads } = this.#world;
    switch (kind) {
      case K.CALL:
        threads.call(object);
        break;
      case K.GO_ON:
        threads.goOn(object);
        break;
      case K.SLEEP:
        threads.sleep(object);
        break;
      case K.SEE:
        monitor.see();
        break;
      case K.SEE_NO_THREAD:
        monitor.seeNoThread();
        break;
      case K.MONITOR:
        monitor.step();
        break;
      case K.GIVE_UP:
        monitor.giveUp();
        break;
      case K.LOOK:
      case K.MUST_HAVE_LEFT:
        monitor.look(kind === K.LOOK ? "seen" : "late");
        break;
      case K.CLOCK:
        monitor.tick();
        break;
      case K.LOSE:
        monitor.end();
        break;
      case K.FOLLOW_AGAIN:
        monitor.followAgain();
        break;
    }
    return true;
  }

  actorOf(action: number): string {
    return actorOf(action % K.KINDS, Math.floor(action / K.KINDS) % K.OBJECTS);
  }

  /** Renders an action as a line of a counterexample. */
  describe(action: number): string {
    return inWords(this.#world, action);
  }
}
