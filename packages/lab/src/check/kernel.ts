/**
 * The scheme port on the model's machine. The explorer decides when and how a request ends, and when a tag is posted.
 */

import {
  type BufferLocation,
  type CompletionSink,
  type Direction,
  ECANCELED,
  EFAULT,
  EIO,
  ENOMEM,
  PAGE_BYTES,
  type Registrations,
  type Scheme,
  type SchemeName,
} from "pinless/portable";
import { REQUEST_IN_FLIGHT, REQUEST_RELEASING, REQUEST_STATE, SLOT_LIVE, SLOT_STATE } from "../model/tables.js";
import { type CaseContext, nameOfRequest } from "./context.js";
import type { Rules } from "./invariants.js";
import * as S from "./state.js";

/** Number of threads in the pool of `direct`: fewer than there are requests, so that some wait. */
const POOL = 2;

/** Kinds of completions. The word of a completion is its kind + 8 × the number of the request or slot. */
const WHOLE = 0;
const SHORT = 1;
const FAILED = 2;
const FAULTED = 3;
const CANCELLED = 4;

/** Calls of the engine during which other actors can take steps; a bit for each. */
export const TAKE = 1;
export const POPULATE = 2;
export const ENTER = 4;
export const DELIVER = 8;
export const ARM = 16;
export const BEFORE_TAKE = 32;
/** `enter` with something to submit. */
export const SUBMIT = 64;

export class CheckKernel implements Scheme, Registrations {
  readonly name: SchemeName;
  readonly depth: number;
  readonly ahead: number;
  readonly slots: number;
  readonly registrations: Registrations | null;
  readonly comparesSegments = true;
  readonly userChanged = false;
  readonly #ground: CaseContext;
  readonly #rules: Rules;
  /** The engine's lease table, once it exists. */
  leases: Int32Array | null = null;
  /** The call during which `meanwhile` runs, once; 0 for none. */
  during = 0;
  meanwhile: () => void = () => {};
  /** Bits of the calls that are refused next: a registration, a populate. */
  refuse = 0;
  /** Bit set of the calls that were made during the action. */
  calls = 0;

  constructor(ground: CaseContext, rules: Rules) {
    this.#ground = ground;
    this.#rules = rules;
    const { scheme } = ground.scenario;
    this.name = scheme === "per-io" ? "io_uring" : scheme;
    const { requestSlots } = ground;
    this.depth = scheme === "direct" ? Math.min(POOL, requestSlots) : requestSlots;
    this.ahead = requestSlots - this.depth;
    this.slots = ground.slots;
    this.registrations = this.slots > 0 ? this : null;
  }

  attachFile(): number {
    return 0;
  }

  detachFile(): void {}

  close(): void {}

  keepAlive(yes: boolean): void {
    this.#ground.w[S.ALIVE] = yes ? 1 : 0;
  }

  #during(call: number): void {
    this.calls |= call;
    if (this.during !== call) return;
    this.during = 0;
    this.meanwhile();
  }

  prepare(
    slot: number,
    _direction: Direction,
    _file: number,
    location: BufferLocation,
    _position: number,
    bufferSlot: number,
  ): void {
    const request = this.#ground.locations.indexOf(location);
    this.#ground.setRequest(request, S.R_SLOT, slot + 1);
    this.#rules.requests.prepared(request, bufferSlot);
    const { w, at, tell } = this.#ground;
    const by = bufferSlot < 0 ? ", by no registration" : ` by the lease in slot ${bufferSlot}`;
    tell?.(`the engine prepares ${nameOfRequest(request)}${by}`);
    S.push(w, at.prepared, request + 16 * Math.max(0, bufferSlot + 1));
  }

  cancel(): void {}

  enter(): number {
    this.#during(ENTER);
    this.#handOver();
    return 0;
  }

  /** Hands over all prepared requests, or none of them. */
  #handOver(): void {
    const { w, at, tell } = this.#ground;
    if (w[at.prepared] === 0) return;
    this.calls |= SUBMIT;
    if (this.refuse !== SUBMIT) {
      this.#submit();
      return;
    }
    this.refuse = 0;
    tell?.("the kernel takes none of what was prepared: EAGAIN");
  }

  #submit(): void {
    const { w, at } = this.#ground;
    while (w[at.prepared]! > 0) this.#begin(S.shift(w, at.prepared));
  }

  #begin(entry: number): void {
    const { w, at } = this.#ground;
    if (this.#inKernel() >= this.depth) {
      S.push(w, at.backlog, entry);
      return;
    }
    const request = entry % 16;
    const bufferSlot = Math.floor(entry / 16) - 1;
    const { scenario, machine } = this.#ground;
    const { write, first, last } = scenario.requests[request]!;
    // The machine numbers requests as the scenario does.
    machine.words[machine.frames.layout.nextRequest] = request;
    const begun = machine.disk.submit({
      write,
      firstPage: first,
      pages: last - first + 1,
      block: this.#ground.blockOf(request),
      bufferSlot,
    });
    if (begun < 0) this.#post(FAULTED + 8 * request);
    else this.#rules.requests.began(request, bufferSlot);
  }

  #inKernel(): number {
    let count = 0;
    for (let request = 0; request < this.#ground.scenario.requests.length; request++)
      if (this.isInFlight(request)) count++;
    return count;
  }

  isInFlight(request: number): boolean {
    return this.#ground.machine.disk.request(request, REQUEST_STATE) === REQUEST_IN_FLIGHT;
  }

  isReleasing(request: number): boolean {
    return this.#ground.machine.disk.request(request, REQUEST_STATE) === REQUEST_RELEASING;
  }

  /** Ends a request at the device: completely, after its first page only, or with EIO before any. */
  complete(request: number, how: "whole" | "short" | "EIO"): void {
    const { machine, scenario, w, at } = this.#ground;
    const { first, last } = scenario.requests[request]!;
    const pages = how === "EIO" ? 0 : how === "short" ? 1 : last - first + 1;
    for (let i = 0; i < pages; i++) {
      this.#rules.requests.serving(request, i);
      machine.disk.serve(request);
      this.#rules.requests.served(request, i);
    }
    machine.disk.complete(request);
    this.#post((how === "whole" ? WHOLE : how === "short" ? SHORT : FAILED) + 8 * request);
    if (!scenario.lateRelease || machine.disk.isRegistered(request)) this.release(request);
    if (w[at.backlog]! > 0) this.#begin(S.shift(w, at.backlog));
  }

  /** Unpins the pages of a request that has ended. */
  release(request: number): void {
    const due = this.#ground.machine.disk.release(request);
    if (due >= 0) this.#ground.setSlot(due, S.S_TAG, 1);
  }

  postTag(slot: number): void {
    this.#ground.setSlot(slot, S.S_TAG, 0);
    this.#post(S.TAG_COMPLETION + 8 * slot);
  }

  #post(completion: number): void {
    const { w, at } = this.#ground;
    S.push(w, at.completions, completion);
    if (w[S.ARMED] === 0) return;
    w[S.ARMED] = 0;
    w[S.WAKE] = 1;
  }

  reap(sink: CompletionSink, limit: number): number {
    const { w, at, tell } = this.#ground;
    const reaped = Math.min(limit, w[at.completions]!);
    for (let i = 0; i < reaped; i++) {
      this.#during(DELIVER);
      const completion = S.shift(w, at.completions);
      const number = Math.floor(completion / 8);
      const kind = completion % 8;
      if (kind === S.TAG_COMPLETION) {
        tell?.(`the engine sees the tag of slot ${number}`);
        sink.released(number);
      } else {
        tell?.(`the engine sees that ${nameOfRequest(number)} has ended`);
        sink.completed(this.#ground.request(number, S.R_SLOT) - 1, this.#resultOf(number, kind));
      }
    }
    return reaped;
  }

  #resultOf(request: number, kind: number): number {
    switch (kind) {
      case WHOLE:
        return this.#ground.locations[request]!.bytes;
      case SHORT:
        return PAGE_BYTES;
      case FAILED:
        return -EIO;
      case CANCELLED:
        return -ECANCELED;
      default:
        return -EFAULT;
    }
  }

  arm(): boolean {
    const { w, at } = this.#ground;
    this.#during(ARM);
    if (w[at.completions]! > 0 || w[at.prepared]! > 0) return false;
    w[S.ARMED] = 1;
    return true;
  }

  take(slot: number, address: number, bytes: number): number {
    const { machine, tell } = this.#ground;
    this.#rules.taking(address, bytes);
    this.#during(BEFORE_TAKE);
    if (this.refuse === TAKE) {
      this.refuse = 0;
      tell?.("the kernel refuses a lease: ENOMEM");
      return -ENOMEM;
    }
    const result = machine.disk.register(slot, this.#ground.pageAt(address), bytes / PAGE_BYTES);
    tell?.(`the engine takes a lease on chunk ${this.#ground.table.chunkAt(address)} in slot ${slot}`);
    this.#ground.setSlot(slot, S.S_STALE, 0);
    this.#during(TAKE);
    return result;
  }

  populate(address: number, bytes: number): number {
    this.#during(POPULATE);
    if (this.refuse === POPULATE) {
      this.refuse = 0;
      return -ENOMEM;
    }
    const first = this.#ground.pageAt(address);
    for (let page = first; page < first + bytes / PAGE_BYTES; page++) {
      const errno = this.#ground.machine.memory.populateWrite(page);
      if (errno < 0) return errno;
    }
    return 0;
  }

  costPages(): number {
    return 0;
  }

  /** Drops a lease on the engine's own thread. Prepared requests are submitted first, since they may use it. */
  drop(slot: number): number {
    this.#handOver();
    // A monitor that has ended may have emptied the slot already: emptying it again posts no tag.
    if (this.#ground.machine.disk.slot(slot, SLOT_STATE) !== SLOT_LIVE) return 0;
    this.#rules.dropping(slot);
    this.#ground.tell?.(`the engine empties slot ${slot}`);
    this.empty(slot);
    return 0;
  }

  empty(slot: number): void {
    if (this.#ground.machine.disk.unregister(slot)) this.#ground.setSlot(slot, S.S_TAG, 1);
  }
}
