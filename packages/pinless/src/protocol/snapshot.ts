/**
 * Saves and restores the protocol's state outside of its flat tables, as whole numbers, for an explorer that returns to
 * earlier states. It accesses members that are private to all other code, by their names in brackets.
 */

import type { Dispatcher } from "./dispatcher.js";
import type { ForeignCalls } from "./foreign-calls.js";
import type { Gate } from "./gate.js";
import type { Leases } from "./leases.js";
import type { Invalidation, MmuNotifier } from "./notifier.js";
import type { Parked } from "./parked-requests.js";
import type { Protocol } from "./protocol.js";
import { IntervalTree } from "./ranges/interval-tree.js";
import { FREE, REQUEST_SHIFT, type RequestTable } from "./request-table.js";
import type { BufferLocation } from "./scheme.js";
import { TURN_COMPLETIONS } from "./turns.js";

export class StateWords {
  readonly words: Int32Array;
  /** Index of the next word. */
  at = 0;

  constructor(words: Int32Array) {
    this.words = words;
  }

  put(value: number): void {
    this.words[this.at++] = value;
  }

  take(): number {
    return this.words[this.at++]!;
  }

  /** Fills the words up to an index with zeros. */
  fillTo(end: number): void {
    while (this.at < end) this.words[this.at++] = 0;
  }
}

/** A request as it was accepted; an explorer identifies it by a small number. */
export type AcceptedRequest = Pick<Parked, "direction" | "file" | "owner" | "kind" | "location" | "position" | "done">;

/** Numbers by which an explorer identifies requests: below `count`, one for each location in memory. */
export interface RequestNames {
  readonly count: number;
  nameOf(location: BufferLocation): number;
  requestOf(name: number): AcceptedRequest;
}

/** Number of words that `saveProtocol` appends. */
export function snapshotWords(requests: number, slots: number): number {
  // The dispatcher has two numbers, each waiting request has a word, and each slot two.
  return 2 + requests + 2 * slots + LEASE_WORDS;
}

const LEASE_WORDS = 4;

/** Saves the state outside of the tables. No turn may be running, and no call of `whenQuiet` waiting. */
export function saveProtocol({ dispatcher, gate, leases }: Protocol, to: StateWords, names: RequestNames): void {
  saveDispatcher(dispatcher, gate, to, names);
  if (leases !== null) saveLeases(leases, to);
}

/** Restores the state that `saveProtocol` saved, after the tables have been restored. */
export function restoreProtocol({ dispatcher, gate, leases }: Protocol, from: StateWords, names: RequestNames): void {
  restoreRequests(dispatcher.requests, -1);
  restoreDispatcher(dispatcher, gate, from, names);
  if (leases !== null) restoreLeases(leases, from);
}

function saveDispatcher(dispatcher: Dispatcher, gate: Gate, to: StateWords, names: RequestNames): void {
  const { requests, turns } = dispatcher;
  const { capacity, locations } = requests;
  to.put(turns.nowMs);
  const awaiting = dispatcher["awaitingChanges"];
  const ready = dispatcher["ready"];
  const failing = dispatcher["failing"];
  const counts = (awaiting.length << 2) | (gate.held.length << 6) | (ready.length << 10) | (failing.length << 14);
  to.put((turns["scheduled"] ? 1 : 0) | (turns["alive"] ? 2 : 0) | counts);
  // A request waits in one list at most.
  const end = to.at + names.count;
  putParked(to, awaiting, names);
  putParked(to, gate.held, names);
  putParked(to, ready, names);
  to.fillTo(end);
  for (let slot = 0; slot < capacity; slot++) {
    const location = locations[slot];
    to.put(requests.cancelled[slot]! | (location === undefined ? 0 : names.nameOf(location) << 1));
  }
  // Slots, and errno: results of requests that failed are negative.
  for (let i = 0; i < failing.length; i += 2) to.put(failing[i]! - (failing[i + 1]! << 8));
  to.fillTo(end + 2 * capacity);
}

function restoreDispatcher(dispatcher: Dispatcher, gate: Gate, from: StateWords, names: RequestNames): void {
  const { requests, turns } = dispatcher;
  const parked = dispatcher.parked as Set<Parked>;
  turns.nowMs = from.take();
  const flags = from.take();
  turns["scheduled"] = (flags & 1) !== 0;
  turns["alive"] = (flags & 2) !== 0;
  turns["inTurn"] = false;
  turns["budget"] = TURN_COMPLETIONS;
  if (parked.size > 0) parked.clear();
  dispatcher["limited"] = 0;
  const end = from.at + names.count;
  takeParked(from, dispatcher["awaitingChanges"], (flags >> 2) & 15, dispatcher, names);
  takeParked(from, gate.held, (flags >> 6) & 15, dispatcher, names);
  takeParked(from, dispatcher["ready"], (flags >> 10) & 15, dispatcher, names);
  from.at = end;
  for (let slot = 0; slot < requests.capacity; slot++) {
    const word = from.take();
    requests.cancelled[slot] = word & 1;
    if (requests.words[slot << REQUEST_SHIFT] === FREE) {
      requests.locations[slot] = undefined;
      continue;
    }
    const { owner, location, position, done, kind } = names.requestOf(word >> 1);
    requests.owners[slot] = owner;
    requests.dones[slot] = done;
    requests.kinds[slot] = kind;
    requests.locations[slot] = location;
    requests.position[slot] = position;
  }
  const failing = dispatcher["failing"];
  empty(failing);
  for (let i = 0; i < flags >> 14; i += 2) {
    const word = from.take();
    failing.push(word & 255, -(word >> 8));
  }
  from.at = end + 2 * requests.capacity;
}

/** Empties a list. Setting its `length` would be a call into the runtime, for every list of every state. */
function empty(list: unknown[]): void {
  while (list.length > 0) list.pop();
}

/** Saves a list of waiting requests. Each is encoded as one number, of its name, its flags and its slot. */
function putParked(to: StateWords, list: readonly Parked[], { nameOf }: RequestNames): void {
  for (const { location, cancelled, held, limited, slot } of list)
    to.put(nameOf(location) | (cancelled ? 256 : 0) | (held ? 512 : 0) | (limited ? 1024 : 0) | (slot << 11));
}

function takeParked(
  from: StateWords,
  into: Parked[],
  count: number,
  dispatcher: Dispatcher,
  { requestOf }: RequestNames,
): void {
  empty(into);
  for (let i = 0; i < count; i++) {
    const word = from.take();
    const { direction, file, owner, kind, location, position, done } = requestOf(word & 255);
    const slot = word >> 11;
    const cancelled = (word & 256) !== 0;
    const held = (word & 512) !== 0;
    const limited = (word & 1024) !== 0;
    // The explorer's requests have no options.
    const how = 0;
    const parked = { direction, file, how, owner, kind, location, position, done, slot, limited, cancelled, held };
    into.push(parked);
    (dispatcher.parked as Set<Parked>).add(parked);
    if (limited) dispatcher["limited"]++;
  }
}

function saveLeases(leases: Leases, to: StateWords): void {
  const noRoomAtMs = leases["noRoomAtMs"];
  const madeRoomAtMs = leases["madeRoomAtMs"];
  const times = (madeRoomAtMs === null ? 0 : 1) | (noRoomAtMs === null ? 0 : 2);
  to.put(times | (leases["roomAgain"] ? 4 : 0) | (leases["refused"] ? 8 : 0) | (leases["givingUp"] ? 16 : 0));
  to.put(leases["refusedUntilMs"]);
  to.put(noRoomAtMs ?? 0);
  to.put(madeRoomAtMs ?? 0);
}

function restoreLeases(leases: Leases, from: StateWords): void {
  const flags = from.take();
  leases["refusedUntilMs"] = from.take();
  const noRoomAtMs = from.take();
  const madeRoomAtMs = from.take();
  leases["madeRoomAtMs"] = (flags & 1) !== 0 ? madeRoomAtMs : null;
  leases["noRoomAtMs"] = (flags & 2) !== 0 ? noRoomAtMs : null;
  leases["roomAgain"] = (flags & 4) !== 0;
  leases["refused"] = (flags & 8) !== 0;
  leases["givingUp"] = (flags & 16) !== 0;
  leases.table.changed();
}

/** Restores the list of free slots from the words. `next` is the slot that `take` returns first, if it's free. */
export function restoreRequests(requests: RequestTable, next: number): void {
  const { words, capacity } = requests;
  const free = requests["free"];
  let count = 0;
  for (let slot = capacity - 1; slot >= 0; slot--)
    if (slot !== next && words[slot << REQUEST_SHIFT] === FREE) free[count++] = slot;
  if (next >= 0 && words[next << REQUEST_SHIFT] === FREE) free[count++] = next;
  requests["freeCount"] = count;
}

/** Restores the lists of waiting and active invalidations; the caller restores the fields of each. */
export function restoreNotifier(notifier: MmuNotifier, waiting: Invalidation[], active: readonly Invalidation[]): void {
  notifier["queue"] = waiting;
  const intervals = notifier["intervals"];
  if (active.length === intervals.size && active.every((invalidation) => intervals.has(invalidation))) return;
  const tree = new IntervalTree<Invalidation>();
  notifier["active"] = tree;
  intervals.clear();
  for (const invalidation of active) intervals.set(invalidation, tree.insert(invalidation.range, invalidation));
}

/** A start that the monitor has asked for and that hasn't ended. */
export interface SavedStart {
  readonly id: number;
  /** Number of its invalidations that haven't begun. */
  readonly left: number;
  readonly invalidations: Invalidation[];
  /** True if the monitor that asked for it has ended. */
  readonly orphaned: boolean;
  ready(): void;
}

/** The start with this number; undefined if there is none. */
export function startOf(calls: ForeignCalls, id: number): Omit<SavedStart, "id"> | undefined {
  return calls["starts"].get(id);
}

/** Invalidations that began after their start was ended. */
export function lateOf(calls: ForeignCalls): readonly Invalidation[] {
  return calls["late"];
}

/**
 * Restores the state that `startOf` and `lateOf` returned. `takenOver` is true if all chunks are announced, after a
 * monitor has ended.
 */
export function restoreForeignCalls(
  calls: ForeignCalls,
  starts: readonly SavedStart[],
  late: Invalidation[],
  takenOver: boolean,
): void {
  if (calls["starts"].size > 0) calls["starts"].clear();
  for (const { id, left, ready, invalidations, orphaned } of starts)
    calls["starts"].set(id, { left, beganMs: 0, ready, invalidations, orphaned });
  calls["late"] = late;
  if (calls["takenOver"].size > 0) calls["takenOver"].clear();
  if (takenOver) for (const table of calls["tables"]) calls["takenOver"].add(table);
}
