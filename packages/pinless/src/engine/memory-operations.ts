/** Memory operations of an arena: they run on the memory thread, inside invalidations that keep I/O out. */

import type { Memory, MemoryRequest, MemoryResult } from "../ports/memory.js";
import type { OperationReport } from "../ports/stats.js";
import { type DescribeErrno, PinlessError, systemError } from "../protocol/errors.js";
import type { MmuEvent } from "../protocol/events.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Protection } from "../protocol/public-notifier.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignDown, alignOut, alignUp, contains, overlaps, type Range, without } from "../protocol/ranges/ranges.js";
import type { Loop } from "../protocol/scheme.js";
import { bytesAt, type Segment } from "../protocol/segment.js";

export interface ChangesHost {
  readonly memory: Memory;
  readonly loop: Loop;
  readonly protocol: Protocol;
  readonly describe: DescribeErrno;
  counted(event: MmuEvent, waitedMs: number): void;
}

/** A part of a segment. */
export interface Part {
  readonly segment: Segment;
  readonly part: Range;
}

interface UnderWay {
  readonly parts: readonly Part[];
  readonly ended: Promise<unknown>;
}

type Access = "read" | "readwrite";

export class MemoryOperations {
  readonly #host: ChangesHost;
  readonly #segments: readonly Segment[];
  readonly #device: string | undefined;
  readonly #underWay = new Set<UnderWay>();

  /** `segments` are the arena's, a list that grows with it. `device` is that of the mapped file, if there is one. */
  constructor(host: ChangesHost, segments: readonly Segment[], device: string | undefined) {
    this.#host = host;
    this.#segments = segments;
    this.#device = device;
  }

  /** Runs `run`, which changes these parts one after the other; `quiet` waits for all of them until it has ended. */
  async during<T>(parts: readonly Part[], run: () => Promise<T>): Promise<T> {
    const running = run();
    const underWay = { parts, ended: running.catch(() => {}) };
    this.#underWay.add(underWay);
    try {
      return await running;
    } finally {
      this.#underWay.delete(underWay);
    }
  }

  /** Resolves once no operation that touches the range is in progress. */
  async quiet(range: Range): Promise<void> {
    for (;;) {
      const on = [...this.#underWay].filter(({ parts }) => parts.some(({ part }) => overlaps(part, range)));
      if (on.length === 0) return;
      await Promise.all(on.map(({ ended }) => ended));
    }
  }

  /** Runs an operation inside an invalidation of each segment that it touches, on whole `unit`s around the range. */
  operate(
    event: MmuEvent,
    parts: readonly Part[],
    unit: number,
    run: (part: Range, segment: Segment) => Promise<MemoryResult>,
  ): Promise<OperationReport> {
    return this.during(parts, async () => {
      const total = { pages: 0, done: 0, busy: 0, waited: 0 };
      let reason: string | undefined;
      for (const { segment, part } of parts) {
        const whole = alignOut(part, unit);
        const { result, waitedMs } = await this.invalidate(whole, event, async () => run(whole, segment));
        this.noteHuge(whole, result);
        total.pages += result.pages;
        total.done += result.done;
        total.busy += result.busy;
        total.waited = Math.max(total.waited, waitedMs);
        reason ??= result.reason;
      }
      return reason === undefined ? { event, ...total } : { event, ...total, reason };
    });
  }

  /** Runs an operation on a range without the parts that other code has unmapped: other memory may be there now. */
  async run(range: Range, operation: MemoryRequest["operation"], node?: number): Promise<MemoryResult> {
    const gone = this.#segments.find((segment) => contains(segment.range, range))?.table.gone ?? [];
    const results: MemoryResult[] = [];
    for (const { start, end } of gone.length === 0 ? [range] : without(range, gone)) {
      const request = { operation, address: start, bytes: end - start };
      const device = this.#device === undefined ? {} : { device: this.#device };
      results.push(await this.#host.memory.run({ ...request, ...device, ...(node === undefined ? {} : { node }) }));
    }
    const [only, ...others] = results;
    if (only === undefined) return { pages: 0, done: 0, busy: 0, errno: 0, huge: null };
    return others.reduce(together, only);
  }

  /**
   * Discards the whole pages of a part, and fills its parts of other pages with zeros. In a mapped file those are left
   * alone, because zeros would go into the file.
   */
  async discard(
    segment: Segment,
    part: Range,
    operation: "discard" | "discardLazily",
    zeroEdges: boolean,
  ): Promise<MemoryResult> {
    const start = Math.min(part.end, alignUp(part.start, PAGE_BYTES));
    const end = Math.max(start, alignDown(part.end, PAGE_BYTES));
    const edges = [
      { start: part.start, end: start },
      { start: end, end: part.end },
    ];
    if (!zeroEdges) return this.run({ start, end }, operation);
    if (edges.some((edge) => segment.protocol.gate.readOnly.meets(edge))) {
      throw new PinlessError(
        "ERR_PINLESS_READ_ONLY",
        "the range begins or ends within a page that protect() made read-only: " +
          'discard whole pages, or protect("readwrite") first',
      );
    }
    // A store into memory that other code has unmapped would kill the process.
    for (const edge of edges) if (!segment.table.isGone(edge)) bytesAt(segment, edge).fill(0);
    return this.run({ start, end }, operation);
  }

  /** Changes the access to parts. */
  protect(parts: readonly Part[], access: Access): Promise<OperationReport> {
    return this.during(parts, async () => {
      let pages = 0;
      let waited = 0;
      for (const { segment, part } of parts) {
        waited = Math.max(waited, await this.setAccess(segment, part, access));
        pages += (part.end - part.start) / PAGE_BYTES;
      }
      return { event: "PROTECTION_VMA", pages, done: pages, busy: 0, waited };
    });
  }

  /** Changes the access to a part; resolves to the milliseconds that it waited for I/O. */
  async setAccess(segment: Segment, part: Range, access: Access): Promise<number> {
    const readOnly = access === "read";
    const changed: Protection[] = [];
    const change = async (): Promise<void> => {
      // A piece has a single protection, and so is a single mapping: if the kernel refuses a call, nothing has changed.
      const known = segment.protocol.gate.readOnly;
      for (const range of readOnly ? known.outside(part) : known.within(part)) {
        const { errno } = await this.run(range, readOnly ? "makeReadOnly" : "makeWritable");
        if (errno !== 0) throw systemError(this.#host.describe, errno, "mprotect");
        changed.push({ range, readOnly });
      }
    };
    return (await this.invalidate(part, "PROTECTION_VMA", change, changed)).waitedMs;
  }

  /** Writes a part of a mapping to its file; `path` is for the error. */
  async writeBack(part: Range, path: string | undefined): Promise<MemoryResult> {
    const written = await this.run(part, "writeback");
    if (written.errno !== 0) throw systemError(this.#host.describe, written.errno, "msync", path);
    return written;
  }

  /** Frees the pages of a range so that a stale view reads zeros, and an access never kills the process. */
  async empty(range: Range, ofFile: boolean, mayBeReadOnly: boolean): Promise<void> {
    if (!ofFile) {
      // Equal protection merges the range into one mapping, so the kernel needs no memory to split it.
      if (mayBeReadOnly) await this.run(range, "makeWritable");
      if ((await this.run(range, "discard")).busy === 0) return;
    }
    const { errno } = await this.run(range, "mapZeros");
    if (errno !== 0) throw systemError(this.#host.describe, errno, "mmap");
  }

  async invalidate<T>(
    range: Range,
    event: MmuEvent,
    run: () => Promise<T>,
    protections?: readonly Protection[],
  ): Promise<{ result: T; waitedMs: number }> {
    const { protocol, loop } = this.#host;
    const began = loop.preciseMs();
    let ready = (): void => {};
    const begun = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const invalidation = protocol.invalidate(range, event, ready);
    await begun;
    // Other code may have unmapped a part of the range without the engine knowing yet. The operation would then change
    // other memory that is mapped there now, so it waits until all announced unmaps are known.
    await new Promise<void>((resolve) => protocol.dispatcher.whenKnown(range, resolve));
    const waitedMs = loop.preciseMs() - began;
    try {
      return { result: await run(), waitedMs };
    } finally {
      protocol.notifier.invalidateRangeEnd(invalidation, protections);
      this.#host.counted(event, waitedMs);
    }
  }

  /** Notes which pieces are huge pages now, if the operation has found out. */
  noteHuge(range: Range, { huge }: MemoryResult): void {
    if (huge === null) return;
    this.#host.protocol.gate.notePages(range, (area) => huge.some((piece) => contains(piece, area)));
  }
}

function together(one: MemoryResult, other: MemoryResult): MemoryResult {
  const reason = one.reason ?? other.reason;
  return {
    pages: one.pages + other.pages,
    done: one.done + other.done,
    busy: one.busy + other.busy,
    errno: one.errno !== 0 ? one.errno : other.errno,
    huge: one.huge === null ? other.huge : [...one.huge, ...(other.huge ?? [])],
    ...(reason === undefined ? {} : { reason }),
  };
}
