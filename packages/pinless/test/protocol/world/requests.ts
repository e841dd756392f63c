// The engine's users: what they submit, what they're answered, and what they do then.

import { BUSY, COUNTED, type Owner, QUEUED } from "../../../dist/protocol/acceptance.js";
import { READ, WRITE } from "../../../dist/protocol/direction.js";
import type { Dispatcher } from "../../../dist/protocol/dispatcher.js";
import type { Range } from "../../../dist/protocol/ranges/ranges.js";
import type { BufferLocation } from "../../../dist/protocol/scheme.js";
import type { Arenas } from "./arenas.js";
import type { Judge } from "./judge.js";
import type { Kernel } from "./kernel.js";
import type { Nested } from "./operations.js";
import { chunkOf, type Reference, type RefRequest } from "./reference.js";

interface Request {
  readonly ref: RefRequest;
  readonly location: BufferLocation;
  /** Calls that its `done` makes. */
  readonly after: readonly Nested[];
}

interface Waiter {
  readonly requests: Set<number>;
  runs: number;
}

export class Requests {
  readonly active = new Map<number, Request>();
  readonly waiters: Waiter[] = [];
  readonly owner: Owner = { active: 0, directWrites: 0, becameIdle: null };
  accepted = 0;
  readonly #judge: Judge;
  readonly #kernel: Kernel;
  readonly #reference: Reference;
  readonly #dispatcher: Dispatcher;
  readonly #arenas: Arenas;
  readonly #perform: (operation: Nested) => void;
  #accepting = false;

  constructor(
    judge: Judge,
    kernel: Kernel,
    reference: Reference,
    dispatcher: Dispatcher,
    arenas: Arenas,
    perform: (operation: Nested) => void,
  ) {
    this.#judge = judge;
    this.#kernel = kernel;
    this.#reference = reference;
    this.#dispatcher = dispatcher;
    this.#arenas = arenas;
    this.#perform = perform;
  }

  submit({ where, write, endless }: Extract<Nested, { do: "submit" }>, after: readonly Nested[]): void {
    const arena = this.#arenas.at(where.arena);
    if (arena === null) return;
    const location = this.#arenas.buffer(arena, where);
    const [first, last] = [chunkOf(location.address), chunkOf(location.address + location.bytes - 1)];
    const id = this.accepted;
    const chunks = this.#arenas.chunksOf(first, last);
    const numbers = { issues: 0, effects: 0, result: 0 };
    const ref: RefRequest = { id, write, first, last, chunks, state: "new", cancelled: false, ...numbers };
    const room = this.#dispatcher.requests.hasRoom;
    if (room) {
      this.accepted++;
      this.active.set(id, { ref, location, after });
      if (endless) this.#kernel.endless.add(id);
      this.#reference.accept(ref);
    }
    this.#accepting = true;
    const done = (errno: number, bytes: number, buffer: ArrayBufferView): void => this.#done(id, errno, bytes, buffer);
    const accepted = this.#dispatcher.accept(write ? WRITE : READ, 0, this.owner, COUNTED, location, id, done);
    this.#accepting = false;
    const says = (): string => `accept says ${accepted} with ${this.active.size} requests`;
    this.#judge.require("STATE", accepted === (room ? QUEUED : BUSY), says);
  }

  #done(id: number, errno: number, bytes: number, buffer: ArrayBufferView): void {
    const request = this.active.get(id);
    const say = (what: string) => (): string => `request ${id} ${what}`;
    this.#judge.require("EXACTLY_ONCE", !this.#accepting, say("is answered within accept"));
    this.#judge.require("EXACTLY_ONCE", request !== undefined, say("is answered twice"));
    this.#reference.fill();
    const { state, result, effects } = request.ref;
    this.#judge.require("EXACTLY_ONCE", state === "ended", say(`is answered in state ${state}`));
    const same = result < 0 ? errno === result && bytes === 0 : errno === 0 && bytes === result;
    this.#judge.require("EXACTLY_ONCE", same, say(`is answered ${errno}, ${bytes} instead of ${result}`));
    this.#judge.require("LINEAR", result < 0 || effects === 1, say("succeeds without effect"));
    this.#judge.require("EXACTLY_ONCE", buffer === request.location.buffer, say("is answered with another's buffer"));
    this.active.delete(id);
    this.#reference.answered(id);
    for (const { requests } of this.waiters) requests.delete(id);
    for (const operation of request.after) this.#perform(operation);
  }

  cancel({ ref, location }: Request): void {
    this.#reference.fill();
    ref.cancelled = true;
    this.#dispatcher.cancel(location.buffer);
  }

  pick(number: number): Request | undefined {
    return [...this.active.values()][number % this.active.size];
  }

  whenQuiet(range: Range): void {
    const met = ({ location }: Request): boolean =>
      location.address < range.end && range.start < location.address + location.bytes;
    const requests = [...this.active.values()].filter(met).map(({ ref }) => ref.id);
    const waiter: Waiter = { requests: new Set(requests), runs: 0 };
    this.waiters.push(waiter);
    this.#dispatcher.whenQuiet(range, () => {
      waiter.runs++;
      const left = (): string => `whenQuiet runs ${waiter.runs} times, with ${[...waiter.requests]} in flight`;
      this.#judge.require("STATE", waiter.runs === 1 && waiter.requests.size === 0, left);
    });
  }
}
