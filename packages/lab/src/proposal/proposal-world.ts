/**
 * Transition system of the proposal's kernel, or of Linux, without an engine: actions are numbers, and a state is a row
 * of words.
 */

import { InvariantViolation } from "pinless/portable";
import { inWords, nameOfInvalidation, nameOfRequest } from "../check/context.js";
import { areAlike, type Scenario, type ScenarioRequest } from "../check/scenario.js";
import type { StateRow } from "../check/state-row.js";
import type { Explorable, ExplorableActions } from "../check/transition-system.js";
import { Io } from "./gup-io.js";
import { COMPACT, FORK, RECLAIM, UserMemoryCalls } from "./memory-calls-of-user.js";
import { BEGUN, NONE, RAISED } from "./mmu-notifier.js";
import * as G from "./proposal-context.js";
import { ProposalGround } from "./proposal-context.js";
import { ProposalRules } from "./proposal-invariants.js";

export class ProposalWorld implements Explorable {
  readonly ground: ProposalGround;
  readonly io: Io;
  readonly changes: UserMemoryCalls;
  readonly rules: ProposalRules;
  happened = false;

  constructor(scenario: Scenario) {
    this.ground = new ProposalGround(scenario);
    this.rules = new ProposalRules(this.ground);
    this.changes = new UserMemoryCalls(this.ground, this.rules);
    this.io = new Io(this.ground, this.rules, this.changes);
  }

  state(): StateRow {
    return this.ground.state;
  }

  restore(from: StateRow): void {
    this.ground.state.set(from);
  }

  perform(actions: { apply(action: number): boolean }, action: number): InvariantViolation | null {
    return asViolation(() => {
      this.happened = actions.apply(action);
      this.rules.check();
    });
  }

  rest(): InvariantViolation | null {
    return asViolation(() => this.rules.atRest());
  }
}

function asViolation(run: () => void): InvariantViolation | null {
  try {
    run();
    return null;
  } catch (error) {
    if (error instanceof InvariantViolation) return error;
    return new InvariantViolation("STATE", error instanceof Error ? `${error.name}: ${error.message}` : String(error));
  }
}

const SUBMIT = 0;
const GO_ON = 1;
const SERVE = 2;
const SHORTEN = 3;
const FAIL = 4;
const INTERRUPT = 5;
const START = 6;
const ADVANCE = 7;
const WRITTEN_BACK = 8;
const KSWAPD = 9;
const COMPACTION = 10;
const FORKS = 11;
const LACK_MEMORY = 12;
const KINDS = 16;

export class ProposalActions implements ExplorableActions {
  readonly #world: ProposalWorld;
  /** For requests that are alike: the one that has to come before, or -1. */
  readonly #requestBefore: readonly number[];
  readonly othersCanStep = false;

  constructor(world: ProposalWorld) {
    this.#world = world;
    const { requests } = world.ground.scenario;
    this.#requestBefore = requests.map((request, i) => requests.slice(0, i).findLastIndex((r) => areAlike(r, request)));
  }

  maySleep(): boolean {
    return false;
  }

  areIndependent(): boolean {
    return false;
  }

  again(_action: number, _others: boolean, _into: Int32Array, from: number): number {
    return from;
  }

  list(into: Int32Array): number {
    const { ground, io, changes } = this.#world;
    const { requests, invalidations } = ground.scenario;
    const { w } = ground;
    let count = 0;
    for (let i = 0; i < requests.length; i++) {
      const before = this.#requestBefore[i]!;
      const state = ground.request(i, G.Q_STATE);
      if (state === G.NEW && (before < 0 || ground.request(before, G.Q_STATE) !== G.NEW))
        into[count++] = SUBMIT + KINDS * i;
      if (io.mayGoOn(i)) into[count++] = GO_ON + KINDS * i;
      if (w[G.NO_MEMORY]! > 0 && io.mayLackMemory(i)) into[count++] = LACK_MEMORY + KINDS * i;
      if (w[G.SIGNALS]! > 0 && io.mayInterrupt(i)) into[count++] = INTERRUPT + KINDS * i;
      if (state !== G.IN_FLIGHT) continue;
      into[count++] = SERVE + KINDS * i;
      if (w[G.EIOS]! > 0) into[count++] = FAIL + KINDS * i;
      if (w[G.SHORTS]! > 0 && requests[i]!.last > requests[i]!.first) into[count++] = SHORTEN + KINDS * i;
    }
    for (let j = 0; j < invalidations.length; j++) if (changes.mayStart(j)) into[count++] = START + KINDS * j;
    for (let j = 0; j < ground.ownOf(0); j++) if (changes.mayAdvance(j)) into[count++] = ADVANCE + KINDS * j;
    for (let j = 0; j < invalidations.length; j++)
      if (changes.mayEndWriteback(j)) into[count++] = WRITTEN_BACK + KINDS * j;
    return this.#daemons(into, count);
  }

  #daemons(into: Int32Array, from: number): number {
    const { ground, changes } = this.#world;
    const { w } = ground;
    let count = from;
    let all = true;
    for (let page = 0; page < ground.pages; page++) {
      const may = changes.mayCome(page);
      all &&= may;
      if (!may || ground.machine.tables.frameOf(page) < 0) continue;
      if (w[G.RECLAIMS]! > 0) into[count++] = KSWAPD + KINDS * page;
      if (w[G.MIGRATIONS]! > 0) into[count++] = COMPACTION + KINDS * page;
    }
    if (all && w[G.FORKS]! > 0) into[count++] = FORKS;
    return count;
  }

  apply(action: number): boolean {
    const { io, changes, ground } = this.#world;
    const { w, pages } = ground;
    const object = Math.floor(action / KINDS);
    switch (action % KINDS) {
      case SUBMIT:
        io.submit(object);
        break;
      case GO_ON:
        io.goOn(object);
        break;
      case SERVE:
        io.serve(object, "whole");
        break;
      case SHORTEN:
        w[G.SHORTS]!--;
        io.serve(object, "short");
        break;
      case FAIL:
        w[G.EIOS]!--;
        io.serve(object, "EIO");
        break;
      case LACK_MEMORY:
        w[G.NO_MEMORY]!--;
        io.lackMemory(object);
        break;
      case INTERRUPT:
        w[G.SIGNALS]!--;
        io.interrupt(object);
        break;
      case START:
        changes.start(object);
        break;
      case ADVANCE:
        changes.advance(object);
        break;
      case WRITTEN_BACK:
        changes.endWriteback(object);
        break;
      case KSWAPD:
        this.#come(G.RECLAIMS, RECLAIM, object, object);
        break;
      case COMPACTION:
        this.#come(G.MIGRATIONS, COMPACT, object, object);
        break;
      case FORKS:
        this.#come(G.FORKS, FORK, 0, pages - 1);
        break;
    }
    return true;
  }

  /** Adds actions for kswapd, compaction or fork: each possible event has an invalidation of its own. */
  #come(left: number, operation: number, first: number, last: number): void {
    const { changes, ground } = this.#world;
    const { invalidations, reclaims, migrations } = ground.scenario;
    const before = { [RECLAIM]: 0, [COMPACT]: reclaims, [FORK]: reclaims + migrations }[operation]!;
    ground.w[left]!--;
    changes.come(invalidations.length + before + ground.w[left]!, operation, first, last);
  }

  actorOf(action: number): string {
    switch (action % KINDS) {
      case SERVE:
      case SHORTEN:
      case FAIL:
        return "device";
      case SUBMIT:
      case START:
      case FORKS:
        return "program";
      case KSWAPD:
        return "kswapd";
      case COMPACTION:
        return "compaction";
      default:
        return "kernel";
    }
  }

  describe(action: number): string {
    const { ground, rules } = this.#world;
    const object = Math.floor(action / KINDS);
    const request = ground.scenario.requests[object];
    const name = nameOfRequest(object);
    switch (action % KINDS) {
      case SUBMIT:
        return `the program submits ${name}: ${requestInWords(request!)}`;
      case GO_ON:
        return this.#goesOn(object, name);
      case SERVE:
        return `the device serves ${name}`;
      case SHORTEN:
        return `the device ends ${name} after its first page`;
      case FAIL:
        return `the device fails ${name} with EIO`;
      case LACK_MEMORY:
        return `${name} finds no memory for a page`;
      case INTERRUPT:
        return `a signal ends ${name}'s wait`;
      case START: {
        const { event, blockable, ...pages } = ground.scenario.invalidations[object]!;
        const waits = blockable ? "" : ", which may not wait";
        return `${nameOfInvalidation(object)} begins: ${event} of ${inWords(pages)}${waits}`;
      }
      case ADVANCE:
        return this.#advances(object);
      case WRITTEN_BACK:
        return `the disk has what ${rules.nameOf(object)} writes back`;
      case KSWAPD:
        return `kswapd wants page ${object}`;
      case COMPACTION:
        return `compaction wants to move page ${object}`;
      default:
        return "the program forks";
    }
  }

  #goesOn(request: number, name: string): string {
    const { ground } = this.#world;
    const page = ground.scenario.requests[request]!.first + ground.request(request, G.Q_PAGE);
    switch (ground.request(request, G.Q_STATE)) {
      case G.READY:
        return `${name} begins again (readBegin)`;
      case G.LOOKING:
        return `${name} looks for page ${page}`;
      case G.BREAKING:
        return `${name} goes on to break page ${page}'s copy-on-write`;
      case G.FOUND:
        return `${name} is counted in`;
      case G.COUNTED:
        return `${name} asks whether anything came between (readRetry)`;
      default:
        return `the kernel completes ${name}`;
    }
  }

  #advances(invalidation: number): string {
    const { ground, rules } = this.#world;
    const name = rules.nameOf(invalidation);
    if (ground.invalidation(invalidation, G.V_STEP) === G.OPERATED) return `${name} ends`;
    const state = ground.notifies ? ground.notifier.state(invalidation) : BEGUN;
    if (state === NONE) return `${name} is raised`;
    return state === RAISED ? `${name} looks whether I/O is in flight` : `${name}: it's done to the pages`;
  }
}

function requestInWords({ write, ...pages }: ScenarioRequest): string {
  return write ? `write ${inWords(pages)} to its file` : `read its file into ${inWords(pages)}`;
}
