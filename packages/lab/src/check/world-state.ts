/** Saves the state of an explored world, of the protocol and all actors, as a row of words, and restores it. */

import {
  type AcceptedRequest,
  type Dispatcher,
  DROPPED,
  type ForeignCalls,
  type Invalidation,
  type Leases,
  type LeaseTable,
  lateOf,
  leaseWords,
  MISSED,
  type MmuNotifier,
  FREE as NO_LEASE,
  type Owner,
  type Protocol,
  REQUEST_FREE,
  REQUEST_SHIFT,
  RESIDENCY_MAX_MS,
  type RequestNames,
  restoreForeignCalls,
  restoreNotifier,
  restoreProtocol,
  type SavedStart,
  StateWords,
  saveProtocol,
  startOf,
  TAKEN,
} from "pinless/portable";
import type { CaseContext } from "./context.js";
import type { ExploredMonitor } from "./explored-monitor.js";
import * as S from "./state.js";
import type { StateRow } from "./state-row.js";

/** States of an invalidation, by their numbers in the row. */
export const INVALIDATION_STATES = ["", "waiting", "draining", "begun", "ended"] as const;

/** Parts of a world whose state is saved. */
export interface WorldParts {
  readonly ground: CaseContext;
  readonly protocol: Protocol;
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly dispatcher: Dispatcher;
  readonly calls: ForeignCalls;
  readonly monitor: ExploredMonitor;
  readonly owner: Owner;
  /** The notifier's handles of the program's invalidations, then those of the monitor's starts. */
  readonly handles: readonly (Invalidation | undefined)[];
  /** Number of the invalidation that a start for these callers makes. */
  invalidationOf(callers: number): number;
}

export class WorldState {
  readonly #world: WorldParts;
  readonly #engine: StateWords;
  readonly #names: RequestNames;
  /** Callbacks for starts of the monitor that have begun. */
  readonly #readies: readonly (() => void)[];
  readonly #waiting: Invalidation[] = [];
  readonly #active: Invalidation[] = [];
  /** True if pages may become read-only, and be unmapped by other code. */
  readonly #protects: boolean;
  readonly #unmaps: boolean;
  /** True if the engine has taken a step in this action, so that its state has to be saved. */
  #hasStepped = true;
  #engineStates = 0;

  constructor(world: WorldParts, accepted: readonly AcceptedRequest[]) {
    this.#world = world;
    const { ground } = world;
    const { invalidations, foreign } = ground.scenario;
    this.#engine = new StateWords(ground.engine);
    this.#names = {
      count: accepted.length,
      nameOf: (location) => ground.locations.indexOf(location),
      requestOf: (name) => accepted[name]!,
    };
    this.#readies = foreign.map((_, start) => () => world.monitor.clients.ready(start + 1));
    this.#protects = invalidations.some(({ event }) => event === "PROTECTION_VMA");
    this.#unmaps = foreign.some(({ call }) => call === "unmap");
  }

  /** Has to be called before each step of the engine. */
  engineSteps(): void {
    this.#hasStepped = true;
    this.#world.ground.state.engineState = ++this.#engineStates;
  }

  /** Has to be called before each action. */
  begin(): void {
    this.#hasStepped = false;
  }

  /** Writes the notifier's state to its words. */
  note(): void {
    if (this.#hasStepped) this.#noteNotifier();
    this.#world.monitor.note();
  }

  #noteNotifier(): void {
    const { w, at } = this.#world.ground;
    for (let j = 0; j < this.#world.handles.length; j++) {
      const handle = this.#world.handles[j];
      const state = this.#world.ground.invalidation(j, S.I_STATE);
      if (handle === undefined || state === S.NOT_STARTED || state === S.REFUSED) continue;
      if (INVALIDATION_STATES[state] !== handle.state)
        this.#world.ground.setInvalidation(j, S.I_STATE, INVALIDATION_STATES.indexOf(handle.state));
      this.#world.ground.setInvalidation(j, S.I_DRAINING, handle.state === "draining" ? handle.draining : 0);
    }
    const { waiting } = this.#world.notifier;
    w[at.waiting] = waiting.length;
    for (let i = 1; i <= this.#world.handles.length; i++) {
      const next = waiting[i - 1];
      w[at.waiting + i] = next === undefined ? 0 : this.#world.handles.indexOf(next);
    }
    const late = lateOf(this.#world.calls);
    w[at.late] = late.length;
    for (let i = 0; i < late.length; i++) w[at.late + 1 + i] = this.#world.handles.indexOf(late[i]);
    for (let start = 0; start < this.#world.ground.scenario.foreign.length; start++) {
      const made = startOf(this.#world.calls, start + 1);
      w[at.left + start] = made === undefined ? S.NO_START : made.left + 1 + (made.orphaned ? S.ORPHANED : 0);
    }
  }

  /** The present state, without words that are never read again. */
  state(): StateRow {
    this.#world.ground.machine.words[this.#world.ground.machine.frames.layout.nextRequest] = 0;
    if (this.#hasStepped) this.#saveEngine();
    return this.#world.ground.state;
  }

  #saveEngine(): void {
    const { requests } = this.#world.dispatcher;
    for (let slot = 0; slot < requests.capacity; slot++)
      if (requests.words[slot << REQUEST_SHIFT] === REQUEST_FREE) forget(requests.words, slot << REQUEST_SHIFT);
    this.#engine.at = 0;
    saveProtocol(this.#world.protocol, this.#engine, this.#names);
    if (this.#world.leases !== null) {
      this.#forgetFigures(this.#world.leases.table);
      // Leases cost nothing here, so this count has no effect.
      for (let c = 0; c < this.#world.ground.scenario.chunks; c++) this.#world.ground.table.store(c, MISSED, 0);
    }
  }

  #forgetFigures({ words, slots }: LeaseTable): void {
    words[TAKEN] = 0;
    words[DROPPED] = 0;
    words[RESIDENCY_MAX_MS] = 0;
    for (let slot = 0; slot < slots; slot++) if (words[leaseWords(slot)] === NO_LEASE) forget(words, leaseWords(slot));
  }

  restore(from: StateRow): void {
    const { state } = this.#world.ground;
    const isEngineThere = from.engineState === state.engineState;
    state.set(from);
    if (!isEngineThere) this.#restoreEngine();
    this.#world.monitor.restore();
  }

  #restoreEngine(): void {
    this.#engine.at = 0;
    restoreProtocol(this.#world.protocol, this.#engine, this.#names);
    this.#world.owner.active = this.#world.dispatcher.active;
    this.#world.owner.directWrites = this.#world.dispatcher.requests.active;
    this.#restoreInvalidations();
    this.#restorePages();
  }

  #restoreInvalidations(): void {
    const { ground, handles } = this.#world;
    const { w, at } = ground;
    const active = this.#active;
    while (active.length > 0) active.pop();
    for (let j = 0; j < handles.length; j++) {
      const handle = handles[j];
      if (handle === undefined) continue;
      const state = ground.invalidation(j, S.I_STATE);
      handle.state =
        state === S.NOT_STARTED || state === S.REFUSED
          ? "ended"
          : (INVALIDATION_STATES[state] as Invalidation["state"]);
      handle.draining = ground.invalidation(j, S.I_DRAINING);
      if (state === S.DRAINING || state === S.BEGUN) active.push(handle);
    }
    const waiting = this.#waiting;
    while (waiting.length > 0) waiting.pop();
    for (let i = 1; i <= w[at.waiting]!; i++) waiting.push(handles[w[at.waiting + i]!]!);
    restoreNotifier(this.#world.notifier, waiting, active);
    if (ground.scenario.foreign.length === 0) return;
    const starts: SavedStart[] = [];
    for (let start = 0; start < ground.scenario.foreign.length; start++) {
      const stands = w[at.left + start]!;
      if (stands === S.NO_START) continue;
      const number = this.#world.invalidationOf(w[at.starts + start]!);
      const handle = handles[number];
      const asked = handle === undefined || ground.invalidation(number, S.I_STATE) === S.NOT_STARTED;
      starts.push({
        id: start + 1,
        left: (stands % S.ORPHANED) - 1,
        ready: this.#readies[start]!,
        invalidations: asked ? [] : [handle],
        orphaned: stands >= S.ORPHANED,
      });
    }
    const late: Invalidation[] = [];
    for (let i = 1; i <= w[at.late]!; i++) late.push(handles[w[at.late + i]!]!);
    restoreForeignCalls(this.#world.calls, starts, late, this.#world.monitor.isTakenOver);
  }

  /** Restores the gate's read-only ranges and the table's unmapped ranges from the pages' flags. */
  #restorePages(): void {
    const { ground, protocol } = this.#world;
    const { readOnly } = protocol.gate;
    const { gone, range } = ground.table;
    if (this.#protects) readOnly.remove(range);
    if (this.#unmaps) gone.length = 0;
    if (!this.#protects && !this.#unmaps) return;
    for (let page = 0; page < ground.pages; page++) {
      const flags = ground.page(page, S.P_FLAGS);
      if ((flags & S.IS_READ_ONLY) !== 0) readOnly.add(ground.range({ first: page, last: page }));
      if ((flags & S.BURIED) !== 0) gone.push(ground.range({ first: page, last: page }));
    }
  }
}

/** Clears eight words: those of a request or of a lease. */
function forget(words: Int32Array, from: number): void {
  for (let i = from; i < from + 8; i++) words[i] = 0;
}
