// The protocol, wired to the kernel, the loop and the reference; does what a list of operations says.
import assert from "node:assert/strict";
import type { Dispatcher } from "../../../dist/protocol/dispatcher.js";
import { EFAULT } from "../../../dist/protocol/errno.js";
import type { Leases } from "../../../dist/protocol/leases.js";
import type { MmuNotifier } from "../../../dist/protocol/notifier.js";
import { Protocol } from "../../../dist/protocol/protocol.js";
import { agree } from "./agree.js";
import { Arenas } from "./arenas.js";
import { Invalidations } from "./invalidations.js";
import { Judge } from "./judge.js";
import { CHUNK, Kernel, newPages, PAGE, type Registration } from "./kernel.js";
import { ManualLoop } from "./manual-loop.js";
import { Monitor } from "./monitor.js";
import type { Nested, Operation, Setup } from "./operations.js";
import { chunkOf, type RefChunk, Reference } from "./reference.js";
import { Requests } from "./requests.js";

const EIO = 5;
/** Error that callbacks throw on purpose. */
const THROWN = new Error("thrown by a callback");

export class World {
  readonly judge: Judge = new Judge();
  readonly loop = new ManualLoop();
  readonly setup: Setup;
  readonly kernel: Kernel;
  readonly reference: Reference;
  readonly protocol: Protocol;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly dispatcher: Dispatcher;
  readonly arenas: Arenas;
  readonly requests: Requests;
  readonly invalidations: Invalidations;
  readonly #monitor: Monitor;
  #thrown = 0;
  /** Reason for which leases may be dropped without an invalidation. */
  #dropping: "clock" | "all" | "room" = "room";

  constructor(setup: Setup) {
    this.setup = setup;
    const { judge, loop } = this;
    loop.now = loop.read = setup.nowMs;
    const now = (): number => loop.read;
    this.reference = new Reference(
      judge,
      () => this.dispatcher.parked.size - this.protocol.gate.held.length,
      now,
      (r) => this.#mayDrop(r),
      (c, bytes) => this.#mayTake(c, bytes),
    );
    const { reference } = this;
    const kernel = new Kernel(judge, reference, setup.depth, setup.slots);
    kernel.nowMs = now;
    kernel.pagesAt = (chunk) => reference.chunks.get(chunk)?.pages ?? newPages();
    kernel.soon = (run) => loop.soon(run);
    this.kernel = kernel;
    const { slots, budgetPages, idleMs, maxMs } = setup;
    const limits = { slots, budgetBytes: budgetPages * PAGE, idleMs, maxMs };
    this.protocol = new Protocol({ scheme: kernel, loop, chunkBytes: CHUNK, leases: slots === 0 ? null : limits });
    const { notifier, leases, gate, dispatcher, foreign } = this.protocol;
    this.notifier = notifier;
    this.leases = leases;
    this.dispatcher = dispatcher;
    leases?.connect({ leaseGone: (table, chunk) => this.#gone(table, chunk) });
    kernel.woken = dispatcher.turns.turnOfLoop;
    this.#monitor = new Monitor(kernel, leases?.table.words ?? new Int32Array(0));
    this.arenas = new Arenas(gate, foreign, reference);
    const { arenas } = this;
    this.requests = new Requests(judge, kernel, reference, dispatcher, arenas, (o) => this.#perform(o, []));
    const state = (): unknown => this.#state();
    this.invalidations = new Invalidations(judge, kernel, reference, notifier, foreign, arenas, state);
    arenas.add(0, 3, 0);
    arenas.add(1, 2, 3);
  }

  #gone(table: number, chunk: number): void {
    const number = chunkOf(this.arenas.byIndex(table).table.range.start) + chunk;
    const registration = this.reference.registrations.find((r) => r.chunk === number);
    assert.ok(registration !== undefined, `REVOKED_MEANS_REVOKED: chunk ${number} had no lease`);
    this.reference.booked(registration);
    this.protocol.gate.leaseGone(table, chunk);
  }

  /** True while a lease is being dropped. */
  get isDropping(): boolean {
    return this.reference.registrations.some((r) => this.isLeaving(r));
  }

  isLeaving(registration: Registration): boolean {
    return registration.emptied !== "" || this.#monitor.claims(registration);
  }

  #mayDrop(registration: Registration): boolean {
    if (this.#dropping === "all" || (this.#dropping === "clock" && this.#isDue(registration))) return true;
    return this.#makesRoom(registration);
  }

  /** True if it's the unused lease whose last use is longest ago: only that one makes room. */
  #makesRoom(registration: Registration): boolean {
    const used = (chunk: number): boolean => this.reference.inKernel(chunk).some(({ issues }) => issues > 0);
    const spare = this.kernel.table.filter((r) => r !== null && !used(r.chunk));
    const idle = this.#idleMs(registration);
    const oldest = spare.every((r) => this.#idleMs(r!) <= idle || this.#monitor.claims(r!));
    const held = this.reference.registrations;
    const pages = held.reduce((sum, { bytes }) => sum + bytes / PAGE, 0);
    const full = held.length === this.setup.slots || pages + CHUNK / PAGE > this.setup.budgetPages;
    return full && oldest && spare.includes(registration);
  }

  #idleMs(registration: Registration): number {
    return (this.loop.read - registration.lastUseMs) | 0;
  }

  #isDue(registration: Registration): boolean {
    const residency = (this.loop.read - registration.takenMs) | 0;
    return this.#idleMs(registration) >= this.setup.idleMs || residency >= this.setup.maxMs;
  }

  #mayTake(chunk: RefChunk, bytes: number): void {
    const why = (): string => `a lease of ${bytes} bytes on chunk ${chunk.number}`;
    const held = this.reference.registrations;
    const pages = held.reduce((sum, r) => sum + r.bytes / PAGE, bytes / PAGE);
    this.judge.require("STATE", bytes === chunk.bytes && !held.some((r) => r.chunk === chunk.number), why);
    this.judge.require("BUDGET", pages <= this.setup.budgetPages && held.length < this.setup.slots, why);
  }

  /** Everything that a refused invalidation leaves as it was. */
  #state(): unknown {
    const tables = this.arenas.all.map((arena) => arena?.table.words.slice());
    const waiting = this.invalidations.started.map(({ handle }) => handle?.state);
    const { heldTotal } = this.protocol.gate;
    const { issues, enters } = this.kernel;
    const words = this.leases?.table.words.slice();
    return [tables, words, this.notifier.inProgress, heldTotal, waiting, this.loop.microtasks, issues.length, enters];
  }

  apply(operation: Operation): void {
    try {
      // An engine that sleeps looks at its clock before it uses it; else it may use what it saw.
      if (this.loop.asleep) this.loop.read = this.loop.now;
      this.#apply(operation);
      for (const error of this.loop.errors) if (error !== THROWN) this.judge.note(error);
    } catch (error) {
      this.judge.note(error);
    }
    this.judge.verdict();
    agree(this);
  }

  #apply(operation: Operation): void {
    const { kernel, loop, leases, invalidations } = this;
    switch (operation.do) {
      case "complete":
        kernel.complete(operation.pick, (bytes, leased) => {
          if (operation.outcome === "whole") return bytes;
          if (operation.outcome === "short") return bytes / 2;
          // By a lease, the kernel finds no fault.
          return operation.outcome === "EFAULT" && !leased ? -EFAULT : -EIO;
        });
        break;
      case "tag":
        kernel.postTag(operation.pick);
        break;
      case "microtasks":
        loop.runMicrotasks();
        break;
      case "soon":
        loop.runSoon();
        break;
      case "tick":
        this.#tick(operation.ms, operation.looked);
        break;
      case "foreign": {
        const next = invalidations.foreign[operation.pick % invalidations.foreign.length];
        if (operation.anew) invalidations.discard(this.arenas.range(operation.where));
        else if (next !== undefined) invalidations.advance(next);
        break;
      }
      case "monitor":
        this.#monitor.act(operation);
        break;
      case "refuse":
        kernel.refuseTakes = operation.takes;
        kernel.refusePopulates = operation.populates;
        break;
      case "addArena":
        this.arenas.add(operation.arena, operation.chunks, operation.pages);
        break;
      case "closeArena":
        this.#closeArena(operation.arena);
        break;
      case "dropAll":
        this.#within("all", () => leases?.dropAll());
        this.dispatcher.nudge();
        break;
      case "giveUp":
        this.#within("all", () => (operation.yes ? leases?.giveUp() : leases?.takeAgain()));
        this.dispatcher.nudge();
        break;
      case "submit":
      case "start":
        this.#perform(operation, operation.after);
        break;
      default:
        this.#perform(operation, []);
        break;
    }
  }

  #perform(operation: Nested, after: readonly Nested[]): void {
    switch (operation.do) {
      case "submit":
        this.requests.submit(operation, after);
        break;
      case "start": {
        const ready = (): void => {
          for (const next of after) if (next.do !== "throw") this.#perform(next, []);
        };
        this.invalidations.start(operation.event, this.arenas.range(operation.where), { ...operation, ready });
        break;
      }
      case "end": {
        const begun = this.invalidations.begun();
        if (begun.length > 0) this.invalidations.end(begun[operation.pick % begun.length]!, operation.protections);
        break;
      }
      case "cancel": {
        const request = this.requests.pick(operation.pick);
        if (request !== undefined) this.requests.cancel(request);
        break;
      }
      case "whenQuiet":
        this.requests.whenQuiet(this.arenas.range(operation.where));
        break;
      case "throw":
        this.#thrown++;
        throw THROWN;
    }
  }

  #closeArena(location: number): void {
    const arena = this.arenas.at(location);
    if (arena === null || arena.closing) return;
    arena.closing = true;
    // A microtask later, as after an await.
    const ended = (): void => this.loop.microtask(() => this.arenas.remove(arena));
    this.invalidations.start("UNMAP", arena.table.range, { blockable: true, ready: () => {}, ended });
  }

  #within(why: "clock" | "all", run: () => void): void {
    this.#dropping = why;
    run();
    this.#dropping = "room";
  }

  /** Time passes, and the engine's clock looks, or is late. */
  #tick(ms: number, looked: boolean): void {
    const { leases, loop } = this;
    loop.runMicrotasks();
    loop.now += ms;
    if (leases === null || !looked) return;
    const nowMs = loop.nowMs();
    this.#within("clock", () => leases.tick(nowMs));
    for (const r of this.reference.registrations) {
      const why = (): string => `chunk ${r.chunk} is pinned since ${r.takenMs}, used at ${r.lastUseMs}, now ${nowMs}`;
      const live = r.emptied === "" && !this.#monitor.claims(r);
      this.judge.require("NO_IDLE_PIN", !live || !this.#isDue(r), why);
      this.judge.require("REVOKED_MEANS_REVOKED", !r.tagSeen || !r.returned, () => `${why()}: its books aren't done`);
    }
    this.dispatcher.nudge();
    loop.runMicrotasks();
  }

  /** Ends everything that can end, and checks what is left. */
  finish(): void {
    const cancelled = new Set<number>();
    for (let quiet = 0, rounds = 0; quiet < 3 && rounds < 1000; quiet++, rounds++) {
      const before = this.judge.step;
      for (const request of this.requests.active.values()) {
        if (!this.kernel.endless.has(request.ref.id) || cancelled.has(request.ref.id)) continue;
        cancelled.add(request.ref.id);
        this.requests.cancel(request);
      }
      this.#monitor.finish();
      while (this.kernel.inFlight.some(({ request }) => !this.kernel.endless.has(request))) {
        this.apply({ do: "complete", pick: 0, outcome: "whole" });
      }
      while (this.kernel.lateTags.length > 0) this.apply({ do: "tag", pick: 0 });
      this.loop.runAll();
      for (const foreign of [...this.invalidations.foreign]) this.invalidations.advance(foreign);
      const [begun] = this.invalidations.begun();
      if (begun !== undefined) this.invalidations.end(begun);
      this.apply({ do: "microtasks" });
      const held = this.leases?.held ?? 0;
      if (held > 0 && this.judge.step === before) this.apply({ do: "tick", ms: 4, looked: true });
      const isBusy = held > 0 || begun !== undefined || this.invalidations.foreign.length > 0;
      if (isBusy || this.judge.step !== before) quiet = -1;
    }
    this.#nothingIsLeft();
  }

  #nothingIsLeft(): void {
    assert.deepEqual([...this.requests.active.keys()], [], "EXACTLY_ONCE: requests were lost");
    assert.deepEqual(this.invalidations.started, [], "BOUNDED_WAIT: invalidations never got their turn");
    assert.ok(
      this.requests.waiters.every(({ runs }) => runs === 1),
      "a waiter never ran",
    );
    assert.equal(this.reference.registrations.length, 0, "NO_IDLE_PIN: leases were left");
    assert.equal(this.kernel.alive, false, "an idle engine keeps the process alive");
    assert.equal(this.loop.errors.length, this.#thrown, "errors of callbacks");
    assert.deepEqual(this.requests.owner, { active: 0, directWrites: 0, becameIdle: null });
    assert.equal(this.dispatcher.requests.active, 0);
    assert.equal(this.dispatcher.submitted, this.requests.accepted);
    assert.equal(this.leases?.revalidated ?? 0, this.reference.revalidated, "leases taken again");
    agree(this);
  }
}
