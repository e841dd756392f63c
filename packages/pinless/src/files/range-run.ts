/**
 * Runs the reads of many ranges: as many requests at a time as the engine takes, into one piece of staging memory, from
 * which each range gets its bytes.
 */

import { BUSY, type Done, UNCOUNTED, WAITS } from "../protocol/acceptance.js";
import { READ } from "../protocol/direction.js";
import { EFAULT } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { RWF } from "../protocol/how.js";
import { FreeList } from "../protocol/ranges/free-list.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignDown, alignUp } from "../protocol/ranges/ranges.js";
import { locationIn, type SegmentLocation, segmentOf } from "../protocol/segment.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import { throwIfAborted } from "./node-errors.js";
import { type MergeLimits, type PlannedRead, REQUEST_BYTES, ReadPlan, type Targets } from "./range-plan.js";
import { PIECE_BYTES } from "./staging-memory.js";

/** Reads between two questions if the page cache has a read's bytes, after it hadn't those of several. */
const ASK_EVERY = 16;

/** A request of a run. One after the other uses the same object, and memory of the same size. */
interface RangeRequest extends PlannedRead {
  /** Offset of its memory in the staging memory; -1 for none. */
  slot: number;
  location: SegmentLocation | null;
  /** Bytes that an earlier attempt has read: it's for the rest. */
  before: number;
  readonly submit: () => boolean;
  readonly done: Done;
}

export class RangeRun {
  readonly #host: FileHost;
  readonly #lifetime: FileLifetime;
  readonly #align: number;
  readonly #how: number;
  readonly #depth: number;
  readonly #size: number;
  readonly #targets: Targets;
  readonly #plan: ReadPlan;
  readonly #plannedBytes: number;
  /** Ranges that are read by calls of their own. */
  readonly #apart: number[] = [];
  readonly #read: (memory: Uint8Array, position: number) => Promise<number>;
  #memory: Uint8Array = new Uint8Array(0);
  #slots = new FreeList(0, PIECE_BYTES);
  /** Requests that aren't planned. They may have memory. */
  readonly #idle: RangeRequest[] = [];
  /** A planned request that has found no room. */
  #unplaced: RangeRequest | null = null;
  /** Ranges of a read that failed, each to be read alone, before those of the plan. */
  readonly #alone: PlannedRead[] = [];
  #inFlight = 0;
  #stopped = false;
  #error: SystemError | null = null;
  #settle: (() => void) | null = null;
  /** Number of reads in a row that the page cache didn't have. */
  #missed = 0;

  /** `read` reads one range by a call of its own, without staging memory. */
  constructor(
    host: FileHost,
    lifetime: FileLifetime,
    targets: Targets,
    limits: MergeLimits,
    read: (memory: Uint8Array, position: number) => Promise<number>,
  ) {
    const { opened, paths, transfers, usual } = lifetime;
    const isTried = transfers.mount.knows(usual[READ]);
    this.#host = host;
    this.#lifetime = lifetime;
    this.#align = paths.openDirect() ? opened.readAlign : 1;
    this.#how = usual[READ] & ~transfers.mount.refused;
    this.#depth = host.protocol.dispatcher.requests.capacity;
    this.#size = opened.calls.size();
    this.#targets = targets;
    const planned = new Uint32Array(targets.count);
    let count = 0;
    let bytes = 0;
    for (let i = 0; i < targets.count; i++) {
      const length = targets.lengthOf(i);
      if (length === 0) continue;
      if (!isTried || !opened.traits.ends || segmentOf(targets.memories[i]!.buffer) !== null) this.#apart.push(i);
      else {
        planned[count++] = i;
        bytes += length;
      }
    }
    this.#plannedBytes = bytes;
    this.#plan = new ReadPlan(targets, targets.sorted(planned.subarray(0, count)), this.#align, limits);
    this.#read = read;
  }

  /** Reads everything. No memory is in use by the kernel when it settles. */
  async run(signal: AbortSignal | undefined): Promise<void> {
    throwIfAborted(signal);
    const { transfers } = this.#lifetime;
    transfers.begin();
    signal?.addEventListener("abort", this.stop);
    try {
      const ends = await Promise.allSettled([this.#throughStaging(), ...this.#callsApart()]);
      for (const end of ends) if (end.status === "rejected") throw end.reason;
    } finally {
      signal?.removeEventListener("abort", this.stop);
      transfers.end();
    }
    throwIfAborted(signal);
    if (this.#error !== null) throw this.#error;
  }

  async #throughStaging(): Promise<void> {
    if (this.#plannedBytes === 0) return;
    const { staging } = this.#host;
    this.#memory = await staging.acquire(Math.min(PIECE_BYTES, Math.max(2 * REQUEST_BYTES, this.#plannedBytes)));
    this.#slots = new FreeList(this.#memory.byteLength, PIECE_BYTES);
    await new Promise<void>((settle) => {
      this.#settle = settle;
      this.#pump();
    });
    await staging.release(this.#memory);
  }

  /** Reads ranges by calls of their own: into arena memory, and of files that the kernel generates. */
  #callsApart(): Promise<void>[] {
    let next = 0;
    const calls = async (): Promise<void> => {
      while (!this.#stopped && next < this.#apart.length) {
        const index = this.#apart[next++]!;
        const { positions, bytes } = this.#targets;
        try {
          bytes[index] = await this.#read(this.#targets.viewOf(index), positions[index]!);
        } catch (error) {
          this.#error ??= rangeError(error as SystemError, positions[index]!, this.#targets.lengthOf(index));
          this.stop();
        }
      }
    };
    return Array.from({ length: Math.min(this.#depth, this.#apart.length) }, calls);
  }

  /** Stops before all ranges are read; `run` ends once the kernel has let go of the memory. */
  readonly stop = (): void => {
    this.#stopped = true;
    if (this.#inFlight === 0) this.#settle?.();
  };

  #pump(): void {
    while (!this.#stopped && this.#inFlight < this.#depth) {
      const request = this.#unplaced ?? this.#idle.pop() ?? this.#newRequest();
      this.#unplaced = null;
      if (request.bytes === 0 && !this.#takeNext(request)) {
        this.#idle.push(request);
        break;
      }
      if (!this.#findRoom(request)) {
        this.#unplaced = request;
        break;
      }
      this.#inFlight++;
      this.#submit(request);
    }
    if (this.#inFlight === 0) this.#settle!();
  }

  #newRequest(): RangeRequest {
    const request: RangeRequest = {
      position: 0,
      bytes: 0,
      targets: [],
      slot: -1,
      location: null,
      before: 0,
      submit: () => this.#accept(request),
      done: (errno, bytes) => this.#ended(request, errno, bytes),
    };
    return request;
  }

  /** Plans the next request; false if there is none. */
  #takeNext(request: RangeRequest): boolean {
    const alone = this.#alone.pop();
    if (alone === undefined) return this.#plan.next(request);
    request.position = alone.position;
    request.bytes = alone.bytes;
    request.targets.splice(0, request.targets.length, ...alone.targets);
    return true;
  }

  /** Finds staging memory for a request: that which it has, if it fits. False if requests in flight have it all. */
  #findRoom(request: RangeRequest): boolean {
    if (request.location?.bytes === request.bytes) return true;
    this.#leaveRoom(request);
    request.slot = this.#slots.allocate(request.bytes, PAGE_BYTES);
    if (request.slot < 0) {
      for (const idle of this.#idle) this.#leaveRoom(idle);
      request.slot = this.#slots.allocate(request.bytes, PAGE_BYTES);
    }
    if (request.slot < 0) return false;
    request.location = this.#locationOf(this.#memory.subarray(request.slot, request.slot + request.bytes));
    return true;
  }

  #leaveRoom(request: RangeRequest): void {
    if (request.slot < 0) return;
    this.#slots.retire(request.slot);
    this.#slots.release(request.slot, request.location!.bytes);
    request.slot = -1;
    request.location = null;
  }

  #locationOf(memory: Uint8Array): SegmentLocation {
    const segment = segmentOf(this.#memory.buffer)!;
    return locationIn(segment, memory, segment.bufferAddress + memory.byteOffset, memory.byteLength);
  }

  /** Submits a request, or what `before` leaves of it. */
  #submit(request: RangeRequest): void {
    this.#host.submissions.enqueue(request.submit);
  }

  #accept(request: RangeRequest): boolean {
    if (this.#stopped) {
      this.#leave(request);
      return true;
    }
    const { before } = request;
    const whole = request.location!;
    const location = before === 0 ? whole : this.#locationOf((whole.buffer as Uint8Array).subarray(before));
    const { dispatcher } = this.#host.protocol;
    const { owner } = this.#lifetime;
    const position = request.position + before;
    const file = this.#fileFor(request);
    const how = file === this.#lifetime.paths.cached ? this.#how : this.#how & ~RWF.RWF_DONTCACHE;
    return dispatcher.accept(READ, file, owner, UNCOUNTED, location, position, request.done, WAITS, how) !== BUSY;
  }

  #ended(request: RangeRequest, errno: number, bytes: number): void {
    const came = request.before + bytes;
    // A read that ends inside of a block has reached the end of the file; after another one there may be more.
    if (errno === 0 && bytes > 0 && came < request.bytes && came % this.#align === 0 && !this.#stopped) {
      request.before = came;
      this.#submit(request);
      return;
    }
    if (errno === 0) this.#deliver(request, came);
    else this.#refused(request, errno);
    this.#leave(request);
  }

  /** Chooses the way around the page cache, unless there is none, or the page cache has all bytes. */
  #fileFor({ position, bytes }: PlannedRead): number {
    const { paths } = this.#lifetime;
    this.#host.counted("bounced");
    if (paths.usableDirect >= 0 && !this.#isAtHand(position, bytes)) {
      paths.bufferedShare.direct++;
      return paths.usableDirect;
    }
    this.#host.counted("buffered");
    return paths.cached;
  }

  /** Asks for each read if the page cache has it; for every sixteenth only, after it had none of the last sixteen. */
  #isAtHand(position: number, bytes: number): boolean {
    if (this.#missed >= ASK_EVERY && this.#missed++ % ASK_EVERY !== 0) return false;
    const cached = this.#lifetime.opened.calls.isCached(position, bytes, this.#size);
    this.#missed = cached ? 0 : this.#missed + 1;
    return cached;
  }

  /** Copies what a read has brought to the ranges that asked for it. `bytes` is less than planned at the file's end. */
  #deliver(request: RangeRequest, bytes: number): void {
    const { positions, ends, memories, offsets, bytes: had } = this.#targets;
    const from = request.position;
    const to = from + bytes;
    const came = request.location!.buffer as Uint8Array;
    for (const index of request.targets) {
      const position = positions[index]!;
      const first = Math.max(position, from);
      const last = Math.min(ends[index]!, to);
      if (last < Math.min(ends[index]!, from + request.bytes))
        had[index] = Math.min(had[index]!, Math.max(0, last - position));
      if (first >= last) continue;
      const whole = first === from && last - from === came.byteLength;
      try {
        memories[index]!.set(
          whole ? came : came.subarray(first - from, last - from),
          offsets[index]! + first - position,
        );
      } catch {
        // The caller has transferred the buffer that it gave, or has made it shorter.
        this.#fail(-EFAULT, index);
        return;
      }
    }
  }

  /** Reads the ranges of a read that was refused one by one, since another range or a gap may be the reason. */
  #refused(read: PlannedRead, errno: number): void {
    const { targets } = read;
    if (targets.length === 1) this.#fail(errno, targets[0]!);
    else for (const target of targets) this.#alone.push(this.#partOf(read, target));
  }

  /** The part of a read that one range needs. */
  #partOf(read: PlannedRead, target: number): PlannedRead {
    const { positions, ends } = this.#targets;
    const position = Math.max(read.position, alignDown(positions[target]!, this.#align));
    const end = Math.min(read.position + read.bytes, alignUp(ends[target]!, this.#align));
    return { position, bytes: end - position, targets: [target] };
  }

  #fail(errno: number, target: number): void {
    const error = this.#lifetime.transfers.error(READ, errno);
    this.#error ??= rangeError(error, this.#targets.positions[target]!, this.#targets.lengthOf(target));
    this.#stopped = true;
  }

  #leave(request: RangeRequest): void {
    request.bytes = 0;
    request.before = 0;
    this.#idle.push(request);
    this.#inFlight--;
    this.#pump();
  }
}

/** Adds a range's place in the file to the error that it met. */
export function rangeError(error: SystemError, position: number, bytes: number): SystemError {
  error.message += `, ${bytes} bytes at ${position}`;
  return Object.assign(error, { position });
}
