/**
 * I/O without an engine, in steps between which other actors run. With `notifier` it's as in the proposal
 * (mmu-notifier.ts). With `gup` it's Linux as it is, where get_user_pages pins the pages; those of a registered buffer
 * until it's unregistered, which doesn't happen here.
 */

import { EINTR, EIO, ENOMEM, READ, WRITE } from "pinless/portable";
import { nameOfRequest } from "../check/context.js";
import { BLOCK_CONTENT, CONTENT, FOLIO_DIRTY, PTE_WRITE, VM_WRITE, WRITEBACK } from "../model/tables.js";
import { BREAK, type UserMemoryCalls } from "./memory-calls-of-user.js";
import { DRAINING } from "./mmu-notifier.js";
import type { ProposalGround } from "./proposal-context.js";
import * as G from "./proposal-context.js";
import type { ProposalRules } from "./proposal-invariants.js";

export class Io {
  readonly #ground: ProposalGround;
  readonly #rules: ProposalRules;
  readonly #changes: UserMemoryCalls;

  constructor(ground: ProposalGround, rules: ProposalRules, changes: UserMemoryCalls) {
    this.#ground = ground;
    this.#rules = rules;
    this.#changes = changes;
  }

  #set(request: number, state: number): void {
    this.#ground.setRequest(request, G.Q_STATE, state);
  }

  submit(request: number): void {
    this.#set(request, G.READY);
    this.#begin(request);
  }

  mayGoOn(request: number): boolean {
    const ground = this.#ground;
    switch (ground.request(request, G.Q_STATE)) {
      case G.READY:
        return !ground.notifier.isAsleep(request);
      case G.LOOKING:
        return !this.#waitsForWriteback(request);
      case G.BREAKING:
        return ground.notifier.state(ground.ownOf(request)) !== DRAINING;
      case G.FOUND:
      case G.COUNTED:
      case G.SERVED:
        return true;
      default:
        return false;
    }
  }

  goOn(request: number): void {
    const ground = this.#ground;
    const { notifier } = ground;
    switch (ground.request(request, G.Q_STATE)) {
      case G.READY:
        this.#begin(request);
        break;
      case G.LOOKING:
        this.#lookUp(request);
        break;
      case G.BREAKING:
        this.#break(request);
        break;
      case G.FOUND:
        notifier.countIn(request);
        this.#set(request, G.COUNTED);
        break;
      case G.COUNTED:
        this.#retry(request);
        break;
      case G.SERVED:
        this.#complete(request);
        break;
    }
  }

  #begin(request: number): void {
    const ground = this.#ground;
    if (ground.notifies && !ground.notifier.readBegin(request)) {
      this.#rules.waits(request);
      return;
    }
    ground.setRequest(request, G.Q_PAGE, 0);
    this.#set(request, G.LOOKING);
  }

  #pageOf(request: number): number {
    return this.#ground.scenario.requests[request]!.first + this.#ground.request(request, G.Q_PAGE);
  }

  /** True if a page is under writeback, so that a lookup for a device write faults and waits (folio_wait_stable). */
  #waitsForWriteback(request: number): boolean {
    const { machine, scenario, notifies } = this.#ground;
    const page = this.#pageOf(request);
    const frame = machine.tables.frameOf(page);
    const { write } = scenario.requests[request]!;
    if (write || !notifies || frame < 0 || machine.tables.is(page, PTE_WRITE)) return false;
    if (this.#registeredFrame(page, write) >= 0) return false;
    return machine.frames.frameIs(frame, WRITEBACK);
  }

  /** Looks one page up: in the registered buffer, or in the page table, with a fault if it isn't mapped as needed. */
  #lookUp(request: number): void {
    const ground = this.#ground;
    const page = this.#pageOf(request);
    const { write } = ground.scenario.requests[request]!;
    const known = this.#registeredFrame(page, write);
    if (known >= 0) {
      this.#found(request, known);
      return;
    }
    const { machine } = ground;
    if (ground.registered) this.#rules.lookedUp(request, page);
    const there = machine.tables.frameOf(page);
    if (
      !write &&
      there >= 0 &&
      !machine.tables.is(page, PTE_WRITE) &&
      machine.tables.is(page, VM_WRITE) &&
      this.#changes.isShared(page)
    ) {
      this.#breakFirst(request, page);
      return;
    }
    const enough = there >= 0 && (write || machine.tables.is(page, PTE_WRITE));
    const errno = enough ? 0 : machine.memory.fault(page, write ? "load" : "store");
    if (errno < 0) this.#fail(request, -errno);
    else this.#found(request, machine.tables.frameOf(page));
  }

  #registeredFrame(page: number, write: boolean): number {
    const ground = this.#ground;
    if (!ground.registered) return -1;
    return ground.notifies ? ground.notifier.registered(page, write) : ground.pinnedFrame(page);
  }

  #found(request: number, frame: number): void {
    const ground = this.#ground;
    const i = ground.request(request, G.Q_PAGE);
    ground.setRequest(request, G.Q_FRAMES + i, frame + 1);
    if (!ground.notifies && !ground.registered) this.#changes.pin(frame, 1);
    const { first, last } = ground.scenario.requests[request]!;
    if (first + i < last) {
      ground.setRequest(request, G.Q_PAGE, i + 1);
      return;
    }
    ground.setRequest(request, G.Q_PAGE, 0);
    if (ground.notifies) {
      this.#set(request, G.FOUND);
      return;
    }
    this.#set(request, G.IN_FLIGHT);
    this.#rules.began(request);
  }

  #retry(request: number): void {
    const ground = this.#ground;
    const { notifier } = ground;
    const { first, last, write } = ground.scenario.requests[request]!;
    if (notifier.readRetry(request)) {
      ground.tell?.(`its pages may be others by now: ${nameOfRequest(request)} goes back`);
      this.#rules.waits(request);
      this.#forgetFrames(request);
      notifier.goBack(request);
      this.#set(request, G.READY);
      return;
    }
    for (let page = first; page <= last && ground.registered; page++)
      notifier.publish(page, ground.frameFor(request, page - first), write ? WRITE : READ);
    notifier.letGo(request);
    this.#set(request, G.IN_FLIGHT);
    this.#rules.began(request);
  }

  #forgetFrames(request: number): void {
    const { first, last } = this.#ground.scenario.requests[request]!;
    for (let i = 0; i <= last - first; i++) this.#ground.setRequest(request, G.Q_FRAMES + i, 0);
  }

  /** Fails a request that hasn't begun. */
  #fail(request: number, errno: number): void {
    const ground = this.#ground;
    const pinned = ground.request(request, G.Q_PAGE);
    for (let i = 0; i < pinned && !ground.notifies && !ground.registered; i++)
      this.#changes.pin(ground.frameFor(request, i), -1);
    if (ground.notifies) ground.notifier.letGo(request);
    this.#answer(request, errno);
  }

  #answer(request: number, errno: number): void {
    this.#forgetFrames(request);
    this.#ground.setRequest(request, G.Q_PAGE, 0);
    this.#set(request, G.ANSWERED);
    this.#rules.answered(request, errno);
  }

  /** True if a page has to be brought in and there's no frame for it. */
  mayLackMemory(request: number): boolean {
    const ground = this.#ground;
    if (ground.request(request, G.Q_STATE) !== G.LOOKING || this.#waitsForWriteback(request)) return false;
    const page = this.#pageOf(request);
    return (
      this.#registeredFrame(page, ground.scenario.requests[request]!.write) < 0 &&
      ground.machine.tables.frameOf(page) < 0
    );
  }

  lackMemory(request: number): void {
    this.#fail(request, ENOMEM);
  }

  /** True if a signal may end its wait. */
  mayInterrupt(request: number): boolean {
    const ground = this.#ground;
    return ground.request(request, G.Q_STATE) === G.READY && ground.notifier.isAsleep(request);
  }

  interrupt(request: number): void {
    this.#fail(request, EINTR);
  }

  /** Ends a request at the device: completely, after its first page, or with EIO before any. */
  serve(request: number, how: "whole" | "short" | "EIO"): void {
    const ground = this.#ground;
    const { machine, scenario } = ground;
    const { first, last, write } = scenario.requests[request]!;
    const pages = how === "EIO" ? 0 : how === "short" ? 1 : last - first + 1;
    for (let i = 0; i < pages; i++) {
      const frame = ground.frameFor(request, i);
      const block = ground.blockOf(request) + i;
      this.#rules.serving(request, i);
      if (write) machine.cache.setBlock(block, BLOCK_CONTENT, machine.frames.frame(frame, CONTENT));
      else machine.frames.setFrame(frame, CONTENT, machine.cache.block(block, BLOCK_CONTENT));
      this.#rules.served(request, i);
    }
    ground.setRequest(request, G.Q_SERVED, pages);
    ground.setRequest(request, G.Q_ERRNO, how === "EIO" ? EIO : 0);
    this.#set(request, G.SERVED);
  }

  /**
   * Marks a page dirty that a device wrote, before the page may be taken. Linux does so only for buffers that aren't
   * registered.
   */
  #complete(request: number): void {
    const ground = this.#ground;
    const { first, last } = ground.scenario.requests[request]!;
    const errno = ground.request(request, G.Q_ERRNO);
    this.#markDirty(request);
    this.#rules.completing(request);
    if (ground.notifies) ground.notifier.countOut(request);
    else if (!ground.registered)
      for (let i = 0; i <= last - first; i++) this.#changes.pin(ground.frameFor(request, i), -1);
    ground.setRequest(request, G.Q_SERVED, 0);
    ground.setRequest(request, G.Q_ERRNO, 0);
    this.#answer(request, errno);
  }

  #markDirty(request: number): void {
    const ground = this.#ground;
    if (ground.scenario.requests[request]!.write || (ground.registered && !ground.notifies)) return;
    for (let i = 0; i < ground.request(request, G.Q_SERVED); i++)
      ground.machine.frames.setFrameFlags(ground.frameFor(request, i), FOLIO_DIRTY);
  }

  // A lookup for device writes finds a page shared with a child: it breaks copy-on-write, by an invalidation of its
  // own.

  #breakFirst(request: number, page: number): void {
    const ground = this.#ground;
    const own = ground.ownOf(request);
    ground.tell?.(`page ${page} is shared with the child: its copy-on-write is to be broken`);
    ground.setInvalidation(own, G.V_OPERATION, BREAK);
    ground.setInvalidation(own, G.V_STEP, G.STARTED);
    this.#set(request, G.BREAKING);
    ground.notifier.ask(own, "CLEAR", page, page);
  }

  #break(request: number): void {
    const ground = this.#ground;
    const own = ground.ownOf(request);
    this.#changes.advanceOn(own, this.#pageOf(request));
    if (ground.invalidation(own, G.V_STEP) !== G.OVER) return;
    ground.setInvalidation(own, G.V_STEP, G.NOT_STARTED);
    this.#set(request, G.LOOKING);
  }
}
