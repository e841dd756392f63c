/** Memory operations of an arena: they run on the memory thread, inside of invalidations that keep I/O out. */

import type { Memory, MemoryRequest, MemoryResult, OperationReport } from "../ports/memory.js";
import type { MmuEvent } from "../protocol/events.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Protection } from "../protocol/public-notifier.js";
import { alignOut, contains, overlaps, type Range, without } from "../protocol/ranges/ranges.js";
import type { Loop } from "../protocol/scheme.js";
import type { Segment } from "../protocol/segment.js";

export interface ChangesHost {
  readonly memory: Memory;
  readonly loop: Loop;
  readonly protocol: Protocol;
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

export class MemoryOperations {
  readonly #host: ChangesHost;
  readonly #segments: readonly Segment[];
  readonly #device: string | undefined;
  readonly #underWay = new Set<UnderWay>();

  /** `segments`: the arena's, which may become more. `device`: that of the mapped file, if it is a mapping of one. */
  constructor(host: ChangesHost, segments: readonly Segment[], device: string | undefined) {
    this.#host = host;
    this.#segments = segments;
    this.#device = device;
  }

  /** Runs `run`, which changes these parts one after the other. All of them count as under way until it has ended. */
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

  /** Resolves when no operation that touches the range is under way. */
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

  /** Leaves out what other code has unmapped: somebody else's memory may be there. */
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
    // Other code may have unmapped some of it, and the engine hasn't heard of that yet: the change would meet somebody
    // else's memory.
    await new Promise<void>((resolve) => protocol.dispatcher.whenKnown(range, resolve));
    const waitedMs = loop.preciseMs() - began;
    try {
      return { result: await run(), waitedMs };
    } finally {
      protocol.notifier.invalidateRangeEnd(invalidation, protections);
      this.#host.counted(event, waitedMs);
    }
  }

  /** Notes which pieces are huge pages now, as far as the operation found out. */
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
