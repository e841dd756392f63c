// A deterministic kernel behind the ports: what is in flight ends when, and as, the test says.

import { type Direction, WRITE } from "../../../dist/protocol/direction.js";
import { ECANCELED, EFAULT } from "../../../dist/protocol/errno.js";
import type { BufferLocation, CompletionSink, Registrations, Scheme } from "../../../dist/protocol/scheme.js";
import type { Judge } from "./judge.js";

export const CHUNK = 65536;
export const PAGE = 4096;
const ENOMEM = 12;

/** Pages behind a chunk's addresses. If they are gone, other pages are there now, or none. */
export interface Pages {
  gone: "" | "moved" | "discarded" | "unmapped";
  /** Time when they went, by the judge's count. */
  goneAt: number;
  /** Discarded by other code, which only announced it. */
  byForeign: boolean;
}

export function newPages(): Pages {
  return { gone: "", goneAt: 0, byForeign: false };
}

export interface Registration {
  readonly slot: number;
  readonly chunk: number;
  readonly bytes: number;
  readonly takenAt: number;
  readonly takenMs: number;
  readonly pages: Pages;
  lastUseMs: number;
  /** Populated for writing since it was taken. */
  populated: boolean;
  /** The side that took it out of the table; empty while it's in the table. */
  emptied: "" | "engine" | "monitor";
  /** The update that emptied it has returned. */
  returned: boolean;
  /** Requests in flight that use it. */
  users: number;
  tagSeen: boolean;
  /** The engine has done its books. */
  booked: boolean;
}

export interface Issue {
  readonly request: number;
  readonly slot: number;
  readonly write: boolean;
  readonly address: number;
  readonly bytes: number;
  /** Registration that the engine took for the request's lease. */
  readonly intended: Registration | null;
  used: Registration | null;
  pages: Pages[];
  enteredAt: number;
}

/** Observer of all that the engine asks of the kernel, just before it takes effect. */
export interface Watch {
  prepared(issue: Issue): void;
  imported(issue: Issue): void;
  affecting(issue: Issue): void;
  /** `again`: the kernel refused it before it began. */
  reaping(issue: Issue, result: number, again: boolean): void;
  taking(chunk: number, bytes: number): void;
  taken(registration: Registration): void;
  emptying(registration: Registration): void;
}

export type Call = "prepare" | "enter" | "reap" | "deliver" | "take" | "populate" | "drop";

type Entry = Issue | { readonly cancel: number };
type Completion = { issue: Issue; result: number; again: boolean } | { tag: Registration };

export class Kernel implements Scheme, Registrations {
  readonly name = "io_uring";
  readonly depth: number;
  readonly slots: number;
  readonly registrations: Registrations | null;
  readonly comparesSegments = true;
  /** The process has become another user. */
  userChanged = false;
  readonly table: (Registration | null)[];
  /** Registrations whose pages are, or may be, held. */
  readonly pinned: Registration[] = [];
  readonly inFlight: Issue[] = [];
  /** Tags that are due, but haven't come. */
  readonly lateTags: Registration[] = [];
  /** Requests that end only when they're cancelled. */
  readonly endless = new Set<number>();
  alive = false;
  enters = 0;
  reaps: number[] = [];
  /** The number of calls to come that it refuses. */
  refuseTakes = 0;
  refusePopulates = 0;
  woken: () => void = () => {};
  /** Something that another thread does in the middle of one of the engine's calls. */
  meanwhile: { call: Call; run: () => void } | null = null;
  pagesAt: (chunk: number) => Pages = () => newPages();
  nowMs: () => number = () => 0;
  soon: (run: () => void) => void = () => {};
  readonly #judge: Judge;
  readonly #watch: Watch;
  readonly #lastIn: (Registration | null)[];
  readonly #prepared: Entry[] = [];
  readonly #completions: Completion[] = [];
  #armed = false;

  constructor(judge: Judge, watch: Watch, depth: number, slots: number) {
    this.#judge = judge;
    this.#watch = watch;
    this.depth = depth;
    this.slots = slots;
    this.registrations = slots > 0 ? this : null;
    this.table = new Array(slots).fill(null);
    this.#lastIn = new Array(slots).fill(null);
  }

  /** Everything between `prepare` and its delivery. */
  get issues(): Issue[] {
    const prepared = this.#prepared.filter((entry): entry is Issue => "slot" in entry);
    return [...prepared, ...this.inFlight, ...this.unseen.issues];
  }

  /** Requests that have ended and tags that were posted, which the engine hasn't reaped. */
  get unseen(): { issues: Issue[]; tags: Registration[] } {
    const issues = this.#completions.flatMap((c) => ("issue" in c ? [c.issue] : []));
    return { issues, tags: this.#completions.flatMap((c) => ("tag" in c ? [c.tag] : [])) };
  }

  attachFile(fd: number): number {
    return fd;
  }

  detachFile(): void {}

  keepAlive(yes: boolean): void {
    this.alive = yes;
  }

  close(): void {}

  /** The position is the request's number: the test sees to that. */
  prepare(
    slot: number,
    direction: Direction,
    _file: number,
    { address, bytes }: BufferLocation,
    position: number,
    bufferSlot: number,
  ): void {
    this.#interrupt("prepare");
    const intended = bufferSlot < 0 ? null : (this.#lastIn[bufferSlot] ?? null);
    this.#judge.require(
      "NO_STALE_IO",
      bufferSlot < 0 || intended !== null,
      () => `buffer slot ${bufferSlot} never had a registration`,
    );
    const issue = {
      request: position,
      slot,
      write: direction === WRITE,
      address,
      bytes,
      intended,
      used: null,
      pages: [],
      enteredAt: 0,
    };
    this.#watch.prepared(issue);
    this.#prepared.push(issue);
  }

  cancel(slot: number): void {
    this.#prepared.push({ cancel: slot });
  }

  enter(): number {
    this.#interrupt("enter");
    this.enters++;
    this.#submit();
    return 0;
  }

  #submit(): void {
    for (let entry = this.#prepared.shift(); entry !== undefined; entry = this.#prepared.shift()) {
      if ("cancel" in entry) this.#cancelled(entry.cancel);
      else this.#import(entry);
    }
  }

  #cancelled(slot: number): void {
    const at = this.inFlight.findIndex((issue) => issue.slot === slot && this.endless.has(issue.request));
    if (at >= 0) this.#end(this.inFlight.splice(at, 1)[0]!, -ECANCELED);
  }

  #import(issue: Issue): void {
    issue.enteredAt = ++this.#judge.step;
    const first = Math.floor(issue.address / CHUNK);
    const last = Math.floor((issue.address + issue.bytes - 1) / CHUNK);
    if (issue.intended !== null) {
      const found = this.table[issue.intended.slot] ?? null;
      if (found === null || found.chunk !== first) {
        this.#post({ issue, result: -EFAULT, again: true });
        return;
      }
      issue.used = found;
      found.users++;
      issue.pages = [found.pages];
    } else for (let c = first; c <= last; c++) issue.pages.push(this.pagesAt(c));
    this.#watch.imported(issue);
    this.inFlight.push(issue);
  }

  /** Ends something that is in flight. */
  complete(pick: number, result: (bytes: number, leased: boolean) => number): void {
    const ready = this.inFlight.filter(({ request }) => !this.endless.has(request));
    const issue = ready[pick % ready.length];
    if (issue === undefined) return;
    this.inFlight.splice(this.inFlight.indexOf(issue), 1);
    this.#watch.affecting(issue);
    this.#end(issue, result(issue.bytes, issue.used !== null));
  }

  #end(issue: Issue, result: number): void {
    this.#judge.step++;
    this.#post({ issue, result, again: false });
    if (issue.used !== null) this.#unuse(issue.used);
  }

  #unuse(registration: Registration): void {
    registration.users--;
    if (registration.emptied !== "" && registration.users === 0) this.lateTags.push(registration);
  }

  /** Lets a tag come that is due. */
  postTag(pick: number): void {
    const [tag] = this.lateTags.splice(pick % this.lateTags.length, 1);
    if (tag !== undefined) this.#post({ tag });
  }

  #post(completion: Completion): void {
    this.#completions.push(completion);
    if (!this.#armed) return;
    this.#armed = false;
    this.soon(this.woken);
  }

  reap(sink: CompletionSink, limit: number): number {
    this.#interrupt("reap");
    // As a ring does: what comes meanwhile is for the next time. Else a lease could go and come again in between,
    // clean, while a device write was prepared by it and not submitted yet.
    const reaped = Math.min(limit, this.#completions.length);
    for (let i = 0; i < reaped; i++) {
      this.#interrupt("deliver");
      const completion = this.#completions.shift()!;
      this.#judge.step++;
      if ("tag" in completion) {
        completion.tag.tagSeen = true;
        sink.released(completion.tag.slot);
      } else {
        this.#watch.reaping(completion.issue, completion.result, completion.again);
        sink.completed(completion.issue.slot, completion.result);
      }
    }
    this.reaps.push(reaped);
    return reaped;
  }

  arm(): boolean {
    if (this.#completions.length > 0 || this.#prepared.length > 0) return false;
    this.#armed = true;
    return true;
  }

  take(slot: number, address: number, bytes: number): number {
    this.#interrupt("take");
    const chunk = address / CHUNK;
    this.#judge.require("STATE", this.table[slot] === null, () => `slot ${slot} isn't empty`);
    this.#watch.taking(chunk, bytes);
    if (this.refuseTakes > 0) {
      this.refuseTakes--;
      return -ENOMEM;
    }
    const registration: Registration = {
      slot,
      chunk,
      bytes,
      takenAt: ++this.#judge.step,
      takenMs: this.nowMs(),
      pages: this.pagesAt(chunk),
      lastUseMs: this.nowMs(),
      populated: false,
      emptied: "",
      returned: false,
      users: 0,
      tagSeen: false,
      booked: false,
    };
    this.table[slot] = registration;
    this.#lastIn[slot] = registration;
    this.pinned.push(registration);
    this.#watch.taken(registration);
    return 0;
  }

  costPages(): number {
    return 0;
  }

  populate(address: number): number {
    this.#interrupt("populate");
    if (this.refusePopulates > 0) {
      this.refusePopulates--;
      return -ENOMEM;
    }
    const pages = this.pagesAt(address / CHUNK);
    for (const registration of this.pinned) if (registration.pages === pages) registration.populated = true;
    return 0;
  }

  /** On the engine's own thread: what was prepared goes first, since it may use this registration. */
  drop(slot: number): number {
    this.#interrupt("drop");
    this.#submit();
    const registration = this.empty(slot, "engine");
    registration.returned = true;
    return 0;
  }

  empty(slot: number, by: "engine" | "monitor"): Registration {
    const registration = this.table[slot] ?? null;
    this.#judge.require("STATE", registration !== null, () => `slot ${slot} is emptied twice`);
    if (by === "engine") this.#watch.emptying(registration);
    this.#judge.step++;
    registration.emptied = by;
    this.table[slot] = null;
    if (registration.users === 0) this.lateTags.push(registration);
    return registration;
  }

  #interrupt(call: Call): void {
    if (this.meanwhile?.call !== call) return;
    const { run } = this.meanwhile;
    this.meanwhile = null;
    run();
  }
}
