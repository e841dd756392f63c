/**
 * The world of a scenario with two engines on one memory: the owner of a shared arena, and an engine of another thread
 * that attaches it. Both run the shipped protocol; the messages between them, and other code's calls, are actions.
 *
 * A state is saved as the path that led to it, and restored by taking that path again: the protocol's parts between the
 * two engines have no flat state of their own, and such scenarios are small.
 */

import {
  type AttachedEngine,
  Attachment,
  CONCERNS,
  conclude,
  type Invalidation,
  InvariantViolation,
  type ToAttached,
  unmapHeard,
  violated,
} from "pinless/portable";
import { nameOfInvalidation, nameOfRequest } from "./context.js";
import type { Variables } from "./itf-values.js";
import type { ForeignCall, Pages, Scenario, ScenarioRequest } from "./scenario.js";
import { SharedEngine } from "./shared-engine.js";
import { BURIED, SharedFrames } from "./shared-machine.js";
import { eachOf, type SharedMessage, stepsOf, TO_ATTACHED, TO_OWNER } from "./shared-messages.js";
import { StateRow } from "./state-row.js";
import type { Explorable } from "./transition-system.js";

const NEW = 0;
const SUBMITTED = 1;
const ANSWERED = 2;

const NOT_STARTED = 0;
const STARTED = 1;
const BEGUN = 2;
const ENDED = 3;

/** The present of a world, which `restore` makes anew. */
interface Now {
  readonly memory: SharedFrames;
  readonly reading: Int32Array;
  readonly owner: SharedEngine;
  readonly attached: SharedEngine;
  readonly attachment: Attachment;
  readonly queues: readonly SharedMessage[][];
  /** For each request: its state, the frames at its acceptance, and its errno. */
  readonly requests: { state: number; frames: number[]; errno: number }[];
  readonly invalidations: { state: number; handle: Invalidation | null }[];
  /** Steps that each call of other code has taken. */
  readonly calls: number[];
  engine: AttachedEngine | null;
  isAttached: boolean;
  /** Becomes true once the attached engine begins to detach, or its thread has ended. */
  isLeaving: boolean;
  hasEnded: boolean;
  path: readonly number[];
}

export class SharedWorld implements Explorable {
  readonly ground: { tell: ((line: string) => void) | null } = { tell: null };
  readonly scenario: Scenario;
  readonly happened = true;
  now: Now;
  readonly #row = new StateRow(4);
  readonly #numbers = new Map<string, number>();
  readonly #paths: (readonly number[])[] = [];
  #apply: (action: number) => void = () => {};

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.now = this.#begin();
  }

  #begin(): Now {
    const { scenario } = this;
    const memory = new SharedFrames(scenario.chunks * scenario.chunkPages);
    const reading = new Int32Array(1);
    const parts = {
      scenario,
      memory,
      handed: (request: number) => this.#handed(request),
      answered: (request: number, errno: number) => this.#answered(request, errno),
    };
    const owner = new SharedEngine({ ...parts, owner: null, reading });
    const attached = new SharedEngine({ ...parts, owner: { chunks: owner.table.words, reading }, reading: null });
    const queues: SharedMessage[][] = [[], [], []];
    return {
      memory,
      reading,
      owner,
      attached,
      attachment: new Attachment({
        protocol: attached.protocol,
        loop: attached,
        tables: [attached.table],
        post: (answer) => void queues[TO_OWNER]!.push(answer),
      }),
      queues,
      requests: scenario.requests.map(() => ({ state: NEW, frames: [], errno: 0 })),
      invalidations: scenario.invalidations.map(() => ({ state: NOT_STARTED, handle: null })),
      calls: scenario.foreign.map(() => 0),
      engine: null,
      isAttached: false,
      isLeaving: false,
      hasEnded: false,
      path: [],
    };
  }

  // What may happen.

  engineOf({ attached }: ScenarioRequest): SharedEngine {
    return attached ? this.now.attached : this.now.owner;
  }

  get mayAttach(): boolean {
    return this.now.engine === null && !this.now.isLeaving;
  }

  /** Attaches the memory, as the owner does at the other thread's request. */
  attach(): void {
    const { owner, attached, queues } = this.now;
    const parts = [{ table: owner.table, words: attached.table.words }];
    const post = (message: ToAttached): void => void queues[TO_ATTACHED]!.push(message);
    this.now.engine = owner.protocol.attached.add(parts, post);
    queues[TO_ATTACHED]!.push({ kind: "attached" });
  }

  maySubmit(request: number): boolean {
    const { isAttached, isLeaving, requests } = this.now;
    if (requests[request]!.state !== NEW) return false;
    return !this.scenario.requests[request]!.attached || (isAttached && !isLeaving);
  }

  submit(request: number): void {
    const of = this.scenario.requests[request]!;
    Object.assign(this.now.requests[request]!, { state: SUBMITTED, frames: this.#frames(of) });
    this.engineOf(of).submit(request);
  }

  #frames({ first, last }: Pages): number[] {
    return this.now.memory.frames.slice(first, last + 1);
  }

  isInFlight(request: number): boolean {
    const of = this.scenario.requests[request]!;
    return this.engineOf(of).ring.isInFlight(request) && !(of.attached && this.now.hasEnded);
  }

  mayStart(invalidation: number): boolean {
    return this.now.invalidations[invalidation]!.state === NOT_STARTED;
  }

  start(invalidation: number): void {
    const of = this.scenario.invalidations[invalidation]!;
    const here = this.now.invalidations[invalidation]!;
    const { owner } = this.now;
    here.state = STARTED;
    here.handle = owner.protocol.invalidate(owner.rangeOf(of), of.event, () => this.#begun(invalidation));
  }

  #begun(invalidation: number): void {
    this.ground.tell?.(`${nameOfInvalidation(invalidation)} has its range`);
    this.now.invalidations[invalidation]!.state = BEGUN;
    this.#excludes(invalidation);
  }

  /** Checks that no request is in flight that an invalidation which has begun excludes, in either engine. */
  #excludes(invalidation: number): void {
    const { event } = this.scenario.invalidations[invalidation]!;
    const concern = CONCERNS[event];
    for (const [i, request] of this.scenario.requests.entries()) {
      if (!(request.write ? concern.deviceReads : concern.deviceWrites) || !this.#onSameChunk(invalidation, i))
        continue;
      if (request.attached && this.now.hasEnded) continue;
      if (this.engineOf(request).ring.has(i))
        violated("EXCLUSION", `${nameOfRequest(i)} is in flight during ${nameOfInvalidation(invalidation)}`);
    }
  }

  #onSameChunk(invalidation: number, request: number): boolean {
    const { chunkPages, invalidations, requests } = this.scenario;
    const chunk = (page: number): number => Math.floor(page / chunkPages);
    const [a, b] = [invalidations[invalidation]!, requests[request]!];
    return chunk(a.first) <= chunk(b.last) && chunk(b.first) <= chunk(a.last);
  }

  mayFinish(invalidation: number): boolean {
    return this.now.invalidations[invalidation]!.state === BEGUN;
  }

  /** Does what an invalidation is for, and ends it. */
  finish(invalidation: number): void {
    const { event, first, last } = this.scenario.invalidations[invalidation]!;
    const { memory, owner, invalidations } = this.now;
    const pages = eachOf({ first, last });
    if (event === "CLEAR" || event === "MIGRATE") memory.discard(pages);
    if (event === "UNMAP") memory.set(pages, BURIED);
    invalidations[invalidation]!.state = ENDED;
    owner.protocol.notifier.invalidateRangeEnd(invalidations[invalidation]!.handle!);
    owner.protocol.dispatcher.nudge();
  }

  mayDeliver(queue: number): boolean {
    return this.now.queues[queue]!.length > 0 && !(queue === TO_ATTACHED && this.now.hasEnded);
  }

  deliver(queue: number): void {
    const { now } = this;
    const message = now.queues[queue]!.shift()!;
    switch (message.kind) {
      case "attached":
        now.isAttached = true;
        break;
      case "stopped":
        now.engine?.stopped(message.id);
        break;
      case "gone":
        if (now.engine !== null) now.owner.protocol.attached.remove(now.engine);
        break;
      case "changes are over":
        now.owner.protocol.foreign.concluded();
        break;
      case "other code has unmapped":
        this.#hearUnmap(this.scenario.foreign[message.call]!);
        break;
      default:
        now.attachment.obey(message);
    }
  }

  /** Does what MonitorClients does with the monitor's report of an unmap. */
  #hearUnmap(call: ForeignCall): void {
    const { owner } = this.now;
    owner.protocol.foreign.unmapped(owner.rangeOf(call));
    conclude(owner.chunksOf(call));
    unmapHeard(owner.chunksOf(call));
    owner.protocol.foreign.concluded();
  }

  mayGoOn(call: number): boolean {
    return this.now.calls[call]! < this.#steps(call).length;
  }

  /** Takes the next step of a call of other code that the owner's monitor couldn't make wait. */
  goOn(call: number): void {
    this.#steps(call)[this.now.calls[call]!++]!();
  }

  #steps(number: number): readonly (() => void)[] {
    return stepsOf(this.scenario.foreign[number]!, number, this.now);
  }

  get mayLeave(): boolean {
    return this.now.isAttached && !this.now.isLeaving;
  }

  /** Detaches the memory: drains this engine for good, and then tells the owner. */
  detach(): void {
    const { attached, queues } = this.now;
    const { range } = attached.table;
    this.now.isLeaving = true;
    const ready = (): void =>
      attached.microtask(() => {
        attached.protocol.notifier.invalidateRangeEnd(last);
        queues[TO_OWNER]!.push({ kind: "gone" });
      });
    const last = attached.protocol.invalidate(range, "UNMAP", ready);
  }

  /** Ends the attached engine's thread, in any state. */
  endThread(): void {
    this.now.isLeaving = true;
    this.now.hasEnded = true;
    this.now.queues[TO_OWNER]!.push({ kind: "gone" });
  }

  // Checks.

  #handed(request: number): void {
    if (this.#frames(this.scenario.requests[request]!).includes(BURIED))
      violated("NO_STALE_IO", `${nameOfRequest(request)} is handed to the kernel with a page that was unmapped`);
  }

  #answered(request: number, errno: number): void {
    const here = this.now.requests[request]!;
    const name = nameOfRequest(request);
    this.ground.tell?.(`${name} is answered${errno === 0 ? "" : ` with errno ${-errno}`}`);
    if (here.state !== SUBMITTED) violated("EXACTLY_ONCE", `${name} is answered in state ${here.state}`);
    Object.assign(here, { state: ANSWERED, errno });
    if (errno !== 0) return;
    const of = this.scenario.requests[request]!;
    const { used, late } = this.engineOf(of).ring;
    if (!of.write && late[request]) violated("LINEAR", `${name} is delivered, and the device wrote to a freed frame`);
    for (const [i, frame] of used[request]!.entries())
      if (frame < here.frames[i]!)
        violated("LINEAR", `${name} has used a frame that was freed before it was submitted`);
  }

  #check(): void {
    for (const [j, { state }] of this.now.invalidations.entries()) if (state === BEGUN) this.#excludes(j);
    for (const { thrown } of [this.now.owner, this.now.attached]) if (thrown !== null) throw thrown;
  }

  #checkAtRest(): void {
    const { requests, invalidations, hasEnded } = this.now;
    for (const [i, { state }] of requests.entries())
      if (state === SUBMITTED && !(hasEnded && this.scenario.requests[i]!.attached))
        violated("BOUNDED_HOLD", `${nameOfRequest(i)} is never answered`);
    for (const [j, { state }] of invalidations.entries())
      if (state === STARTED) violated("BOUNDED_WAIT", `${nameOfInvalidation(j)} never begins`);
  }

  // States.

  state(): StateRow {
    const key = JSON.stringify(this.#all());
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#paths.push(this.now.path) - 1;
      this.#numbers.set(key, number);
    }
    this.#row.words[0] = number;
    return this.#row;
  }

  #all(): unknown {
    const { memory, reading, owner, attached, queues, requests, invalidations, calls, hasEnded, ...rest } = this.now;
    const { engine, isAttached, isLeaving } = rest;
    return [
      memory.frames,
      reading[0],
      owner.state,
      hasEnded ? null : attached.state,
      queues,
      requests,
      invalidations.map(({ state }) => state),
      calls,
      engine?.isAwaited ?? null,
      [isAttached, isLeaving, hasEnded],
    ];
  }

  restore(from: StateRow): void {
    const { tell } = this.ground;
    this.ground.tell = null;
    this.now = this.#begin();
    for (const action of this.#paths[from.words[0]!]!) this.#take(action);
    this.ground.tell = tell;
  }

  /** Sets the function that applies an action. */
  connect(apply: (action: number) => void): void {
    this.#apply = apply;
  }

  #take(action: number): void {
    const { path } = this.now;
    this.#apply(action);
    for (const engine of [this.now.owner, this.now.attached]) engine.runMicrotasks();
    this.now.path = [...path, action];
  }

  perform(_actions: unknown, action: number): InvariantViolation | null {
    return asViolation(() => {
      this.#take(action);
      this.#check();
    });
  }

  rest(): InvariantViolation | null {
    return asViolation(() => this.#checkAtRest());
  }

  /** Variables of a trace. */
  variables(): Variables {
    const { memory, requests, invalidations, queues } = this.now;
    return {
      frames: memory.frames,
      requests: requests.map(({ state }) => (["new", "submitted", "answered"] as const)[state]!),
      invalidations: invalidations.map(({ state }) => (["no", "started", "begun", "ended"] as const)[state]!),
      messages: queues.map((queue) => queue.map(({ kind }) => kind)),
    };
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
