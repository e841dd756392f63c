/** Variables of an explored world in a trace: everything that its state has, by name. */

import { ANNOUNCED_BEGUN, ANNOUNCED_ENDED, CHUNK, CHUNK_WORDS, FREE } from "pinless/portable";
import { SLOT_STATE, SLOT_USERS } from "../model/tables.js";
import { type CaseContext, callersIn, inWords, nameOfInvalidation, nameOfRequest, nameOfThread } from "./context.js";
import type { ExploredWorld } from "./explored-world.js";
import { setOf, type Value, type Variables } from "./itf-values.js";
import { filesOf, framesOf, inKernel, pageOf } from "./machine-variables.js";
import * as S from "./state.js";

// Names of states, by their numbers: R_STATUS, I_STATE and F_STATE (state.ts), the states of a lease (lease-table.ts),
// SLOT_STATE (model/tables.ts), and kinds of completions (kernel.ts).
const REQUEST_NAMES = ["not submitted", "accepted", "answered"] as const;
const INVALIDATION_NAMES = ["not started", "waiting", "draining", "begun", "ended", "refused"] as const;
const CALL_NAMES = ["not made", "waits in the call", "let go", "has left", "event raised, not asleep yet"] as const;
const LEASE_NAMES = ["free", "live, clean", "live", "dropping", "returned", "tagged", "gone"] as const;
const SLOT_NAMES = ["empty", "registered", "leaving"] as const;
const COMPLETION_NAMES = ["whole", "short", "failed", "faulted", "cancelled"] as const;
const EVENTS_LEFT = {
  reclaim: S.RECLAIMS,
  compaction: S.MIGRATIONS,
  EIO: S.EIOS,
  "short transfer": S.SHORTS,
  "refused lease": S.REFUSALS,
  clock: S.TICKS,
  "late clock": S.STALLS,
  cancel: S.CANCELS,
  "late end": S.LATE_ENDS,
  "refused submission": S.REFUSED_SUBMISSIONS,
  "lost monitor": S.LOSSES,
  "monitor again": S.RESTARTS,
} as const;

export function variablesOf(world: ExploredWorld): Variables {
  const { ground } = world;
  const { scenario, machine, w } = ground;
  const byName = <T>(all: readonly T[], name: (i: number) => string, value: (i: number) => Value): Value =>
    Object.fromEntries(all.map((_, i) => [name(i), value(i)]));
  return {
    time_ms: w[S.TIME_MS]!,
    requests: byName(scenario.requests, nameOfRequest, (i) => requestOf(world, i)),
    invalidations: invalidationsOf(ground),
    chunks: Array.from({ length: scenario.chunks }, (_, chunk) => chunkOf(ground, chunk)),
    leases: Array.from({ length: ground.slots }, (_, slot) => leaseOf(world, slot)),
    pages: Array.from({ length: ground.pages }, (_, page) => ({
      ...pageOf(machine, page, ground.page(page, S.P_CONTENT)),
      ...knownOf(ground.page(page, S.P_FLAGS)),
    })),
    frames: framesOf(machine),
    files: filesOf(machine, scenario.requests, (i) => ground.blockOf(i)),
    threads: byName(scenario.foreign, nameOfThread, (f) => threadOf(ground, f)),
    monitor: monitorOf(world),
    engine: engineOf(ground),
    may_happen: Object.fromEntries(Object.entries(EVENTS_LEFT).map(([name, word]) => [name, w[word]!])),
  };
}

function requestOf({ ground, rules }: ExploredWorld, i: number): Value {
  const { write, ...pages } = ground.scenario.requests[i]!;
  const state = inKernel(ground.machine, i);
  return {
    asks: `${write ? "write" : "read"} ${inWords(pages)}`,
    status: REQUEST_NAMES[ground.request(i, S.R_STATUS)]!,
    held: rules.isHeld(i),
    in_kernel: state,
    by_lease: state !== "no" && ground.machine.disk.isRegistered(i),
    prepared: ground.request(i, S.R_PREPARED),
    begun: ground.request(i, S.R_BEGUN),
    cancelled: ground.request(i, S.R_CANCELLED) === 1,
    pages_taken_away: ground.request(i, S.R_LOST) !== 0,
  };
}

/** Renders the program's invalidations, and those that the monitor's starts make. */
function invalidationsOf(ground: CaseContext): Value {
  const { invalidations } = ground.scenario;
  const all: Record<string, Value> = {};
  for (let j = 0; j < invalidations.length + S.startsOf(ground.scenario); j++) {
    const own = invalidations[j];
    const startFor = (callers: number): string => `start_${callersIn(callers).map(nameOfThread).join("_")}`;
    all[own === undefined ? startFor(j - invalidations.length + 1) : nameOfInvalidation(j)] = {
      event: own?.event ?? "CLEAR",
      pages: inWords(ground.pagesOf(j)),
      state: INVALIDATION_NAMES[ground.invalidation(j, S.I_STATE)]!,
      waits_for: ground.invalidation(j, S.I_DRAINING),
    };
  }
  return all;
}

function chunkOf({ table }: CaseContext, chunk: number): Value {
  const word = (at: number): number => table.words[chunk * CHUNK_WORDS + at]!;
  const lease = word(CHUNK.LEASE);
  const gate = word(CHUNK.GATE);
  return {
    lease: lease > 0 ? `slot ${lease - 1}` : lease === CHUNK.REVALIDATE ? "dropped" : "none",
    device_writes: word(CHUNK.DEVICE_WRITES),
    device_reads: word(CHUNK.DEVICE_READS),
    held: word(CHUNK.HELD),
    announced: word(ANNOUNCED_BEGUN),
    concluded: word(ANNOUNCED_ENDED),
    gate: setOf({
      "an invalidation is in progress": (gate & CHUNK.INVALIDATED) !== 0,
      "excludes device writes": (gate & CHUNK.EXCLUDES_DEVICE_WRITES) !== 0,
      "excludes device reads": (gate & CHUNK.EXCLUDES_DEVICE_READS) !== 0,
      "waits for the lease": (gate & CHUNK.AWAITS_LEASE) !== 0,
      draining: (gate & CHUNK.DRAINING) !== 0,
      unmapped: (gate & CHUNK.UNMAPPED) !== 0,
      "a part is unmapped": (gate & CHUNK.UNMAPPED_PART) !== 0,
      "read-only": (gate & CHUNK.READ_ONLY) !== 0,
      "a part is read-only": (gate & CHUNK.PARTLY_READ_ONLY) !== 0,
      refused: (gate & CHUNK.REFUSED) !== 0,
    }),
  };
}

function leaseOf({ ground, leases }: ExploredWorld, slot: number): Value {
  const state = leases?.table.state(slot) ?? FREE;
  return {
    state: LEASE_NAMES[state]!,
    chunk: state === FREE ? "none" : `chunk ${leases!.table.target(slot).chunk}`,
    in_kernel: SLOT_NAMES[ground.machine.disk.slot(slot, SLOT_STATE)]!,
    users: ground.machine.disk.slot(slot, SLOT_USERS),
    tag_due: ground.slot(slot, S.S_TAG) === 1,
  };
}

/** Renders what the engine can know of a page. */
function knownOf(flags: number): Record<string, Value> {
  return {
    flags: setOf({
      gone: (flags & (S.GONE_KNOWN | S.GONE_NOW)) !== 0,
      "gone, and notified": (flags & S.BURIED) !== 0,
      "read-only": (flags & S.IS_READ_ONLY) !== 0,
      tracked: (flags & S.TRACKED) !== 0,
      refused: (flags & S.IS_REFUSED) !== 0,
    }),
  };
}

function threadOf(ground: CaseContext, f: number): Value {
  const { call, own, ...pages } = ground.scenario.foreign[f]!;
  return {
    calls: `${call} ${inWords(pages)}`,
    is_engines_own: own,
    state: CALL_NAMES[ground.foreign(f, S.F_STATE)]!,
    events_read: ground.foreign(f, S.F_READ),
  };
}

function monitorOf({ monitor, ground }: ExploredWorld): Value {
  const { w, at, scenario } = ground;
  const unread = Array.from({ length: w[at.raised]! }, (_, i) => w[at.raised + 1 + i]!);
  return {
    alive: !ground.hasLostMonitor,
    state: monitor.stateName,
    unread_events: unread.map((f) => (f === scenario.foreign.length ? "memory thread" : nameOfThread(f))),
    messages: w[at.messages]!,
    next_message: monitor.hasMessage ? monitor.nextMessage : "none",
  };
}

/** Renders the engine's thread, and what is on its way between it and the kernel. */
function engineOf({ w, at }: CaseContext): Value {
  const listOf = (list: number): number[] => Array.from({ length: w[list]! }, (_, i) => w[list + 1 + i]!);
  const operating = w[S.OPERATING]!;
  return {
    blocked_in: w[S.BLOCKED] === 0 ? "none" : nameOfThread(w[S.BLOCKED]! - 1),
    sleeps: w[S.ARMED] === 1,
    woken: w[S.WAKE] === 1,
    keeps_process_alive: w[S.ALIVE] === 1,
    microtasks: w[at.microtasks]!,
    soon: w[at.soon]!,
    prepared: listOf(at.prepared).map((entry) => nameOfRequest(entry % 16)),
    queued: listOf(at.backlog).map((entry) => nameOfRequest(entry % 16)),
    completions: listOf(at.completions).map((completion) => {
      const [kind, number] = [completion % 8, Math.floor(completion / 8)];
      return kind === S.TAG_COMPLETION
        ? `tag of slot ${number}`
        : `${nameOfRequest(number)}: ${COMPLETION_NAMES[kind]}`;
    }),
    memory_thread:
      operating === 0 ? "idle" : `${operating > 0 ? "in" : "back from"} ${nameOfInvalidation(Math.abs(operating) - 1)}`,
  };
}
