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

  /** Appends a list of at most `room` numbers, which always takes the same number of words. */
  putList(list: readonly number[], room: number): void {
    const { words, at } = this;
    words[at] = list.length;
    for (let i = 0; i < room; i++) words[at + 1 + i] = i < list.length ? list[i]! : 0;
    this.at = at + 1 + room;
  }

  takeList(into: number[], room: number): void {
    const length = this.words[this.at++]!;
    // Setting `length` would be a call into the runtime, for every list of every state.
    while (into.length > length) into.pop();
    for (let i = 0; i < length; i++) into[i] = this.words[this.at + i]!;
    this.at += room;
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
  // The dispatcher has two numbers and three lists; each slot has two words, and two in a list.
  return 2 + 4 + 3 * requests + (2 + 2) * slots + LEASE_WORDS;
}

const LEASE_WORDS = 6;

/** Saves the state outside of the tables. No turn may be running, and no call of `whenQuiet` waiting. */
export function saveProtocol({ dispatcher, gate, leases }: Protocol, to: StateWords, names: RequestNames): void {
  saveDispatcher(dispatcher, gate, to, names);
  if (leases === null) to.at += LEASE_WORDS;
  else saveLeases(leases, to);
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
  to.put((turns["scheduled"] ? 1 : 0) | (turns["alive"] ? 2 : 0));
  putParked(to, dispatcher["awaitingChanges"], names);
  putParked(to, gate.held, names);
  putParked(to, dispatcher["ready"], names);
  to.putList(dispatcher["failing"], 2 * capacity);
  for (let slot = 0; slot < capacity; slot++) {
    to.put(requests.cancelled[slot]!);
    to.put(locations[slot] === undefined ? 0 : names.nameOf(locations[slot]!));
  }
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
  takeParked(from, dispatcher["awaitingChanges"], parked, names);
  takeParked(from, gate.held, parked, names);
  takeParked(from, dispatcher["ready"], parked, names);
  dispatcher["limited"] = 0;
  for (const { limited } of parked) if (limited) dispatcher["limited"]++;
  from.takeList(dispatcher["failing"], 2 * requests.capacity);
  for (let slot = 0; slot < requests.capacity; slot++) {
    requests.cancelled[slot] = from.take();
    const name = from.take();
    if (requests.words[slot << REQUEST_SHIFT] === FREE) {
      requests.locations[slot] = undefined;
      continue;
    }
    const { owner, location, position, done, kind } = names.requestOf(name);
    requests.owners[slot] = owner;
    requests.dones[slot] = done;
    requests.kinds[slot] = kind;
    requests.locations[slot] = location;
    requests.position[slot] = position;
  }
}

/** Saves a list of waiting requests. Each is encoded as one number, of its name, its flags and its slot. */
function putParked(to: StateWords, list: readonly Parked[], { count, nameOf }: RequestNames): void {
  to.put(list.length);
  for (const { location, cancelled, held, limited, slot } of list)
    to.put(nameOf(location) | (cancelled ? 256 : 0) | (held ? 512 : 0) | (limited ? 1024 : 0) | (slot << 11));
  for (let i = list.length; i < count; i++) to.put(0);
}

/** Restores such a list without allocating one for its words: it's mostly empty, and this runs for every state. */
function takeParked(from: StateWords, into: Parked[], all: Set<Parked>, { count, requestOf }: RequestNames): void {
  while (into.length > 0) into.pop();
  const length = from.take();
  for (let i = 0; i < length; i++) {
    const word = from.words[from.at + i]!;
    const { direction, file, owner, kind, location, position, done } = requestOf(word & 255);
    const slot = word >> 11;
    const cancelled = (word & 256) !== 0;
    const held = (word & 512) !== 0;
    const limited = (word & 1024) !== 0;
    const parked = { direction, file, owner, kind, location, position, done, slot, limited, cancelled, held };
    into.push(parked);
    all.add(parked);
  }
  from.at += count;
}

function saveLeases(leases: Leases, to: StateWords): void {
  const noRoomAtMs = leases["noRoomAtMs"];
  const madeRoomAtMs = leases["madeRoomAtMs"];
  to.put(leases["refused"] ? 1 : 0);
  to.put(leases["refusedUntilMs"]);
  to.put((madeRoomAtMs === null ? 0 : 1) | (noRoomAtMs === null ? 0 : 2) | (leases["roomAgain"] ? 4 : 0));
  to.put(noRoomAtMs ?? 0);
  to.put(madeRoomAtMs ?? 0);
  to.put(leases["givingUp"] ? 1 : 0);
}

function restoreLeases(leases: Leases, from: StateWords): void {
  leases["refused"] = from.take() === 1;
  leases["refusedUntilMs"] = from.take();
  const known = from.take();
  const noRoomAtMs = from.take();
  const madeRoomAtMs = from.take();
  leases["roomAgain"] = (known & 4) !== 0;
  leases["noRoomAtMs"] = (known & 2) !== 0 ? noRoomAtMs : null;
  leases["madeRoomAtMs"] = (known & 1) !== 0 ? madeRoomAtMs : null;
  leases["givingUp"] = from.take() === 1;
  leases.table.changed();
}

/** Restores the list of free slots from the words. `next` is the slot that `take` returns first, if it's free. */
export function restoreRequests(requests: RequestTable, next: number): void {
  const isFree = (slot: number): boolean => requests.words[slot << REQUEST_SHIFT] === FREE;
  let count = 0;
  for (let slot = requests.capacity - 1; slot >= 0; slot--)
    if (slot !== next && isFree(slot)) requests["free"][count++] = slot;
  if (next >= 0 && isFree(next)) requests["free"][count++] = next;
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
