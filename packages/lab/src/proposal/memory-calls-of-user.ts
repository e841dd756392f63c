/**
 * Calls that change memory, in steps between which other actors run: start an invalidation, wait for the range,
 * operate, end it. On Linux (`gup`) they wait for nothing: pages that I/O uses are pinned, and stay where they are.
 */

import {
  CONTENT,
  MAPS,
  PINS,
  PTE_DIRTY,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "../model/tables.js";
import { BEGUN, NONE, RAISED, REFUSED } from "./mmu-notifier.js";
import type { ProposalGround } from "./proposal-context.js";
import * as G from "./proposal-context.js";
import type { ProposalRules } from "./proposal-invariants.js";

/** Operations of an invalidation beyond its event (V_OPERATION, else 0). */
export const RECLAIM = 1;
export const COMPACT = 2;
export const FORK = 3;
export const BREAK = 4;

export class UserMemoryCalls {
  readonly #ground: ProposalGround;
  readonly #rules: ProposalRules;

  constructor(ground: ProposalGround, rules: ProposalRules) {
    this.#ground = ground;
    this.#rules = rules;
  }

  /** True if the invalidation can be started. */
  mayStart(invalidation: number): boolean {
    const ground = this.#ground;
    if (ground.invalidation(invalidation, G.V_STEP) !== G.NOT_STARTED) return false;
    const may = ground.scenario.invalidations[invalidation]!;
    return !ground.notifies || !may.blockable || ground.notifier.mayRaise(invalidation);
  }

  start(invalidation: number): void {
    const ground = this.#ground;
    const { blockable } = ground.scenario.invalidations[invalidation]!;
    if (ground.notifies && !blockable && ground.notifier.mustRefuse(invalidation)) {
      ground.notifier.refuse(invalidation);
      this.#refused(invalidation);
      return;
    }
    ground.setInvalidation(invalidation, G.V_STEP, G.STARTED);
    if (ground.notifies) this.#rules.turn(invalidation);
    // One that may not wait has only looked so far: its second look sees I/O that came in before it was raised.
    if (ground.notifies && blockable) ground.notifier.raise(invalidation);
  }

  #refused(invalidation: number): void {
    this.#ground.tell?.("it's refused");
    this.#ground.setInvalidation(invalidation, G.V_STEP, G.OVER);
    this.#rules.refused(invalidation);
  }

  /** True if one of the kernel's own threads may take this page, or the program may fork. */
  mayCome(page: number): boolean {
    const { notifier, notifies } = this.#ground;
    return !notifies || !notifier.holds(page);
  }

  come(invalidation: number, operation: number, first: number, last: number): void {
    const ground = this.#ground;
    ground.setInvalidation(invalidation, G.V_OPERATION, operation);
    ground.setInvalidation(invalidation, G.V_STEP, G.STARTED);
    ground.notifier.ask(invalidation, operation === FORK ? "PROTECTION_PAGE" : "CLEAR", first, last);
    if (!ground.notifies) return;
    this.#rules.turn(invalidation);
    ground.notifier.raise(invalidation);
  }

  mayAdvance(invalidation: number): boolean {
    const ground = this.#ground;
    const step = ground.invalidation(invalidation, G.V_STEP);
    if (step === G.NOT_STARTED || step === G.OVER) return false;
    if (step === G.OPERATED || !ground.notifies) return step === G.OPERATED || !this.#waitsForDisk(invalidation);
    const state = ground.notifier.state(invalidation);
    return state === NONE || state === RAISED || (state === BEGUN && !this.#waitsForDisk(invalidation));
  }

  /** True if a page is under writeback: another writeback of it, and a store to it, wait until that has ended. */
  #waitsForDisk(invalidation: number): boolean {
    const { machine, notifier } = this.#ground;
    const event = this.#ground.scenario.invalidations[invalidation]?.event;
    if (event !== "PROTECTION_PAGE" && event !== "EXCLUSIVE") return false;
    const { first, last } = notifier.rangeOf(invalidation);
    for (let page = first; page <= last; page++)
      if (machine.tables.frameOf(page) >= 0 && machine.frames.frameIs(machine.tables.frameOf(page), WRITEBACK))
        return true;
    return false;
  }

  advance(invalidation: number): void {
    const { first, last } = this.#ground.notifier.rangeOf(invalidation);
    this.advanceOn(invalidation, first, last);
  }

  /** Takes one more step of the operation on these pages. */
  advanceOn(invalidation: number, first: number, last = first): void {
    const ground = this.#ground;
    const { notifier, notifies } = ground;
    if (ground.invalidation(invalidation, G.V_STEP) === G.OPERATED) {
      ground.setInvalidation(invalidation, G.V_STEP, G.OVER);
      if (notifies) notifier.end(invalidation);
      return;
    }
    if (notifies && notifier.state(invalidation) === NONE) {
      notifier.raise(invalidation);
      return;
    }
    if (notifies && notifier.state(invalidation) !== BEGUN) {
      if (ground.scenario.invalidations[invalidation]?.blockable === false) notifier.lookOnce(invalidation);
      else notifier.look(invalidation);
      if (notifier.state(invalidation) === BEGUN) this.#rules.hasBegun(invalidation);
      if (notifier.state(invalidation) === REFUSED) this.#refused(invalidation);
      return;
    }
    ground.setInvalidation(invalidation, G.V_STEP, G.OPERATED);
    for (let page = first; page <= last; page++)
      if (ground.machine.tables.is(page, VM_MAPPED)) this.#operateOn(invalidation, page);
  }

  #operateOn(invalidation: number, page: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    const operation = ground.invalidation(invalidation, G.V_OPERATION);
    if (operation === RECLAIM) machine.memory.reclaim(page);
    else if (operation === COMPACT) machine.memory.migrate(page);
    else if (operation === FORK) this.#fork(page);
    else if (operation === BREAK) this.#copy(page);
    else this.#byEvent(invalidation, page);
  }

  #byEvent(invalidation: number, page: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    switch (ground.scenario.invalidations[invalidation]!.event) {
      case "UNMAP":
      case "RELEASE":
        machine.memory.munmap(page);
        ground.flag(page, G.UNMAPPED);
        ground.setPage(page, G.P_CONTENT, 0);
        break;
      case "CLEAR":
        machine.memory.discard(page);
        ground.setPage(page, G.P_CONTENT, 0);
        break;
      case "MIGRATE":
        if (machine.memory.migrate(page) !== 0) this.#rules.notMoved(page);
        break;
      case "PROTECTION_VMA":
        machine.memory.protect(page, "read");
        ground.flag(page, G.READ_ONLY);
        break;
      case "PROTECTION_PAGE":
        this.#writeBack(invalidation, page);
        break;
      case "SOFT_DIRTY":
        machine.memory.clearSoftDirty(page);
        ground.flag(page, G.TRACKED);
        break;
      case "EXCLUSIVE":
        if (!machine.tables.is(page, VM_WRITE)) break;
        this.#copy(page);
        machine.memory.store(page, ground.storedBy(invalidation));
        ground.setPage(page, G.P_CONTENT, ground.storedBy(invalidation));
        break;
    }
  }

  /**
   * Write-protects a page, so that the next write faults, and begins its writeback: until that ends it can't change.
   */
  #writeBack(invalidation: number, page: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    const frame = machine.tables.frameOf(page);
    if (frame < 0) return;
    machine.tables.setFlags(page, 0, PTE_WRITE);
    machine.frames.setFrameFlags(frame, WRITEBACK);
    machine.frames.setFrame(frame, PINS, machine.frames.frame(frame, PINS) + 1);
    ground.setInvalidation(invalidation, G.V_FRAMES + page, frame + 1);
  }

  /** True while the pages are written back, after the invalidation has ended. */
  mayEndWriteback(invalidation: number): boolean {
    const ground = this.#ground;
    if (ground.invalidation(invalidation, G.V_STEP) !== G.OVER) return false;
    for (let page = 0; page < ground.pages; page++)
      if (ground.invalidation(invalidation, G.V_FRAMES + page) > 0) return true;
    return false;
  }

  endWriteback(invalidation: number): void {
    const ground = this.#ground;
    for (let page = 0; page < ground.pages; page++) {
      const frame = ground.invalidation(invalidation, G.V_FRAMES + page) - 1;
      if (frame < 0) continue;
      ground.setInvalidation(invalidation, G.V_FRAMES + page, 0);
      ground.machine.frames.setFrameFlags(frame, 0, WRITEBACK);
      this.pin(frame, -1);
    }
  }

  /** Shares a page's frame with a child, so that neither may write to it. Linux copies a pinned page instead. */
  #fork(page: number): void {
    const ground = this.#ground;
    const { machine } = ground;
    const frame = machine.tables.frameOf(page);
    if (frame < 0 || (!ground.notifies && machine.frames.frame(frame, PINS) > 0)) return;
    machine.tables.setFlags(page, 0, PTE_WRITE);
    machine.frames.setFrame(frame, MAPS, machine.frames.frame(frame, MAPS) + 1);
    ground.setPage(page, G.P_CHILD, frame + 1);
    ground.setPage(page, G.P_CHILD_CONTENT, machine.frames.frame(frame, CONTENT));
  }

  isShared(page: number): boolean {
    const { machine } = this.#ground;
    return machine.frames.frame(machine.tables.frameOf(page), MAPS) > 1;
  }

  /** Breaks copy-on-write: from now on the page has a frame of its own. */
  #copy(page: number): void {
    const { machine } = this.#ground;
    if (machine.tables.frameOf(page) < 0 || !this.isShared(page)) return;
    const frame = machine.frames.allocate(machine.frames.frame(machine.tables.frameOf(page), CONTENT));
    machine.tables.unmap(page);
    machine.tables.map(page, frame);
    machine.tables.setFlags(page, PTE_WRITE | PTE_DIRTY | PTE_SOFT_DIRTY);
  }

  pin(frame: number, by: number): void {
    const { machine } = this.#ground;
    machine.frames.setFrame(frame, PINS, machine.frames.frame(frame, PINS) + by);
    machine.frames.put(frame);
  }
}
