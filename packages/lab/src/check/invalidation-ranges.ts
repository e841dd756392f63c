/** Ranges of a scenario's invalidations and requests: which of them overlap, and which requests an event concerns. */

import type { MmuEvent } from "pinless/portable";
import { type CaseContext, nameOfInvalidation, namesOfThreads } from "./context.js";
import * as S from "./state.js";

/** Directions of I/O that an event excludes, and its effect on leases: a second table, to check the protocol's own. */
interface Concern {
  readonly deviceWrites: boolean;
  readonly deviceReads: boolean;
  readonly lease: "drop" | "retire" | "keep";
}
const ALL: Concern = { deviceWrites: true, deviceReads: true, lease: "drop" };
const WRITES: Concern = { deviceWrites: true, deviceReads: false, lease: "drop" };
export const CONCERNED: Readonly<Record<MmuEvent, Concern>> = {
  UNMAP: ALL,
  CLEAR: ALL,
  MIGRATE: ALL,
  RELEASE: ALL,
  EXCLUSIVE: { ...ALL, lease: "keep" },
  PROTECTION_PAGE: WRITES,
  SOFT_DIRTY: WRITES,
  PROTECTION_VMA: { ...WRITES, lease: "retire" },
};

/** Ranges of the invalidations, by number: the program's first, then the monitor's starts. */
export class InvalidationRanges {
  readonly count: number;
  readonly #ground: CaseContext;
  readonly #requests: number;
  /** A byte for each invalidation and request: 1 if their chunks overlap; and for each two invalidations. */
  readonly #meets: Uint8Array;
  readonly #concerns: Uint8Array;
  readonly #overlap: Uint8Array;
  readonly #concern: readonly Concern[];

  constructor(ground: CaseContext) {
    this.#ground = ground;
    const { requests, invalidations, chunkPages } = ground.scenario;
    this.#requests = requests.length;
    this.count = invalidations.length + S.startsOf(ground.scenario);
    this.#meets = new Uint8Array(this.count * this.#requests);
    this.#concerns = new Uint8Array(this.count * this.#requests);
    this.#overlap = new Uint8Array(this.count ** 2);
    this.#concern = Array.from({ length: this.count }, (_, j) => CONCERNED[invalidations[j]?.event ?? "CLEAR"]);
    for (let j = 0; j < this.count; j++) {
      const { first, last } = ground.chunksOf(j);
      const concern = this.concernOf(j);
      requests.forEach((request, i) => {
        const meets = Math.floor(request.first / chunkPages) <= last && first <= Math.floor(request.last / chunkPages);
        const concerns = meets && (request.write ? concern.deviceReads : concern.deviceWrites);
        this.#meets[j * this.#requests + i] = meets ? 1 : 0;
        this.#concerns[j * this.#requests + i] = concerns ? 1 : 0;
      });
      for (let k = 0; k < this.count; k++) {
        const other = ground.chunksOf(k);
        this.#overlap[j * this.count + k] = other.first <= last && first <= other.last ? 1 : 0;
      }
    }
  }

  /** True if chunks of an invalidation and of a request overlap. */
  meets(invalidation: number, request: number): boolean {
    return this.#meets[invalidation * this.#requests + request] === 1;
  }

  /** True if they overlap, and the event excludes the request's direction. */
  concerns(invalidation: number, request: number): boolean {
    return this.#concerns[invalidation * this.#requests + request] === 1;
  }

  /** True if chunks of two invalidations overlap. */
  overlap(invalidation: number, other: number): boolean {
    return this.#overlap[invalidation * this.count + other] === 1;
  }

  concernOf(invalidation: number): Concern {
    return this.#concern[invalidation]!;
  }

  stateOf(invalidation: number): number {
    return this.#ground.invalidation(invalidation, S.I_STATE);
  }

  nameOf(invalidation: number): string {
    const { invalidations } = this.#ground.scenario;
    const own = invalidations[invalidation];
    if (own !== undefined) return `${nameOfInvalidation(invalidation)} (${own.event})`;
    return `the start for ${namesOfThreads(invalidation - invalidations.length + 1)}`;
  }
}
