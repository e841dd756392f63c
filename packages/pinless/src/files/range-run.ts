/**
 * Runs the reads of many ranges: as many requests at a time as the engine takes, into one piece of staging memory, from
 * which each range gets its bytes.
 */

import { BUSY, type Done, UNCOUNTED, WAITS } from "../protocol/acceptance.js";
import { READ } from "../protocol/direction.js";
import { EFAULT } from "../protocol/errno.js";
import type { SystemError } from "../protocol/errors.js";
import { FreeList } from "../protocol/ranges/free-list.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignDown, alignUp } from "../protocol/ranges/ranges.js";
import { locationIn, segmentOf } from "../protocol/segment.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import { throwIfAborted } from "./node-errors.js";
import { type MergeLimits, type PlannedRead, plannedReads, REQUEST_BYTES, type Target } from "./range-plan.js";
import { PIECE_BYTES } from "./staging-memory.js";

/** Reads between two questions if the page cache has a read's bytes, after it hadn't those of several. */
const ASK_EVERY = 16;

export class RangeRun {
  readonly #host: FileHost;
  readonly #lifetime: FileLifetime;
  readonly #align: number;
  readonly #depth: number;
  readonly #size: number;
  readonly #reads: Iterator<PlannedRead>;
  readonly #plannedBytes: number;
  /** Ranges that are read by calls of their own. */
  readonly #apart: readonly Target[];
  readonly #read: (memory: Uint8Array, position: number) => Promise<number>;
  #memory: Uint8Array = new Uint8Array(0);
  #slots = new FreeList(0, PIECE_BYTES);
  /** Reads that come before those of the plan: one that found no room, and ranges of a read that failed. */
  readonly #first: PlannedRead[] = [];
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
    targets: readonly Target[],
    limits: MergeLimits,
    read: (memory: Uint8Array, position: number) => Promise<number>,
  ) {
    const { opened, paths } = lifetime;
    this.#host = host;
    this.#lifetime = lifetime;
    this.#align = paths.openDirect() ? opened.offsetAlign : 1;
    this.#depth = host.protocol.dispatcher.requests.capacity;
    this.#size = opened.calls.size();
    const inOrder = targets.filter(({ position, end }) => end > position).sort((a, b) => a.position - b.position);
    const isApart = ({ memory }: Target): boolean => !opened.traits.ends || segmentOf(memory.buffer) !== null;
    this.#apart = inOrder.filter(isApart);
    const planned = this.#apart.length === 0 ? inOrder : inOrder.filter((target) => !isApart(target));
    this.#plannedBytes = planned.reduce((sum, { position, end }) => sum + end - position, 0);
    this.#reads = plannedReads(planned, this.#align, limits);
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
        const target = this.#apart[next++]!;
        try {
          target.bytes = await this.#read(target.memory, target.position);
        } catch (error) {
          this.#error ??= rangeError(error as SystemError, target.position, target.end - target.position);
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
      const read = this.#first.pop() ?? (this.#reads.next().value as PlannedRead | undefined);
      if (read === undefined) break;
      const slot = this.#slots.allocate(read.bytes, PAGE_BYTES);
      if (slot < 0) {
        this.#first.push(read);
        break;
      }
      this.#inFlight++;
      this.#submit(read, slot, 0);
    }
    if (this.#inFlight === 0) this.#settle!();
  }

  /** Submits a read, or the rest of one from byte `before` on. */
  #submit(read: PlannedRead, slot: number, before: number): void {
    const { protocol } = this.#host;
    const { owner } = this.#lifetime;
    const segment = segmentOf(this.#memory.buffer)!;
    const memory = this.#memory.subarray(slot + before, slot + read.bytes);
    const location = locationIn(segment, memory, segment.bufferAddress + memory.byteOffset, memory.byteLength);
    const file = this.#fileFor(read);
    const position = read.position + before;
    const ended: Done = (errno, bytes) => {
      const came = before + bytes;
      // A read that ends inside of a block has reached the end of the file; after another one there may be more.
      const goesOn = errno === 0 && bytes > 0 && came < read.bytes && came % this.#align === 0 && !this.#stopped;
      if (goesOn) this.#submit(read, slot, came);
      else {
        if (errno === 0) this.#deliver(read, slot, came);
        else this.#refused(read, errno);
        this.#leave(slot, read);
      }
    };
    this.#host.enqueue(() => {
      if (!this.#stopped)
        return protocol.dispatcher.accept(READ, file, owner, UNCOUNTED, location, position, ended, WAITS) !== BUSY;
      this.#leave(slot, read);
      return true;
    });
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
  #deliver(read: PlannedRead, slot: number, bytes: number): void {
    const from = read.position;
    const to = from + bytes;
    for (const target of read.targets) {
      const { position, end, memory } = target;
      const first = Math.max(position, from);
      const last = Math.min(end, to);
      if (last < Math.min(end, from + read.bytes)) target.bytes = Math.min(target.bytes, Math.max(0, last - position));
      if (first >= last) continue;
      try {
        memory.set(this.#memory.subarray(slot + first - from, slot + last - from), first - position);
      } catch {
        // The caller has transferred the buffer that it gave, or has made it shorter.
        this.#fail(-EFAULT, target);
        return;
      }
    }
  }

  /** Reads the ranges of a read that was refused one by one, since another range or a gap may be the reason. */
  #refused(read: PlannedRead, errno: number): void {
    const { targets } = read;
    if (targets.length === 1) this.#fail(errno, targets[0]!);
    else for (const target of targets) this.#first.push(this.#alone(read, target));
  }

  /** The part of a read that one range needs. */
  #alone(read: PlannedRead, target: Target): PlannedRead {
    const position = Math.max(read.position, alignDown(target.position, this.#align));
    const end = Math.min(read.position + read.bytes, alignUp(target.end, this.#align));
    return { position, bytes: end - position, targets: [target] };
  }

  #fail(errno: number, { position, end }: Target): void {
    this.#error ??= rangeError(this.#lifetime.transfers.error(READ, errno), position, end - position);
    this.#stopped = true;
  }

  #leave(slot: number, { bytes }: PlannedRead): void {
    this.#slots.retire(slot);
    this.#slots.release(slot, bytes);
    this.#inFlight--;
    this.#pump();
  }
}

/** Adds a range's place in the file to the error that it met. */
export function rangeError(error: SystemError, position: number, bytes: number): SystemError {
  error.message += `, ${bytes} bytes at ${position}`;
  return Object.assign(error, { position });
}
