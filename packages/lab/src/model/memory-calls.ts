/**
 * Memory calls of the process's other threads, in the kernel's order. A discard raises its event first, mapping by
 * mapping, and the pages go some time after the event was read. An unmapping removes the pages first and raises its
 * event then. Each stage takes virtual time.
 */

import { intersect, type MemoryEvent, MMAN, memorySyscalls, PAGE_BYTES, type Range } from "pinless/portable";
import type { Machine } from "./machine.js";
import type { ModelUserfaultfd } from "./model-userfaultfd.js";
import type { ModelThread } from "./threads.js";

export interface CallTiming {
  /**
   * Longest time from an event until its thread sleeps, and can be seen sleeping. Most times are up to a hundredth of
   * it.
   */
  readonly unseenMs: number;
  /**
   * Longest time from the reading of an event until its pages go (measured on Linux: 5 ms at worst). Most times are up
   * to a hundredth of it.
   */
  readonly zapMs: number;
}

/** The model's calls have the numbers of x86-64. */
const { __NR_madvise, __NR_munmap, __NR_mmap, __NR_mremap } = memorySyscalls("x64");
const ENTER_MS = 0.02;
const WAKE_MS = 0.1;
/** Probabilities that a stage takes long, and that the next page of a discard does. */
const RARELY = 1 / 8;
const PAGE_RARELY = 1 / 32;

export class MemoryCalls {
  readonly #machine: Machine;
  readonly #timing: CallTiming;
  /** Returns null while no userfaultfd follows the process's memory. */
  readonly #userfaultfd: () => ModelUserfaultfd | null;

  constructor(machine: Machine, timing: CallTiming, userfaultfd: () => ModelUserfaultfd | null) {
    this.#machine = machine;
    this.#timing = timing;
    this.#userfaultfd = userfaultfd;
  }

  /** madvise by MADV_DONTNEED or MADV_FREE. */
  discard(thread: ModelThread, range: Range, advice: number, done: () => void): void {
    const call = lineOf(__NR_madvise, range, advice);
    const mappings = this.#userfaultfd()?.mappingsOn(range) ?? [];
    const pieces = mappings.length === 0 ? [range] : mappings.map((mapping) => intersect(mapping, range));
    const next = (i: number): void => {
      const piece = pieces[i];
      if (piece === undefined) {
        this.#leave(thread, done);
        return;
      }
      const zap = (): void =>
        this.#sometimes(thread, "pages go ms", this.#timing.zapMs, () =>
          this.#zap(thread, piece, advice, () => next(i + 1)),
        );
      if (mappings.length > 0) this.#tell(thread, call, range, { kind: "remove", ...piece }, zap);
      else zap();
    };
    this.#enter(thread, () => next(0));
  }

  /** munmap. */
  unmap(thread: ModelThread, range: Range, done: () => void): void {
    this.#enter(thread, () => {
      this.#take(range);
      this.#gone(thread, lineOf(__NR_munmap, range), range, () => this.#leave(thread, done));
    });
  }

  /** mmap(MAP_FIXED) of new memory over the range. */
  mapOver(thread: ModelThread, range: Range, done: () => void): void {
    this.#enter(thread, () => {
      this.#take(range);
      this.map(range);
      this.#gone(thread, lineOf(__NR_mmap, range), range, () => this.#leave(thread, done));
    });
  }

  /**
   * mremap(MREMAP_FIXED) of the range to mapped memory. The moved memory stays registered. The kernel raises two unmap
   * events, one after the other.
   */
  moveAway(thread: ModelThread, range: Range, to: number, done: () => void): void {
    const machine = this.#machine;
    const call = lineOf(__NR_mremap, range, to);
    this.#enter(thread, () => {
      const moved = this.#userfaultfd()?.mappingsOn(range) ?? [];
      for (const { start, end } of moved.map((mapping) => intersect(mapping, range)))
        this.#userfaultfd()?.register({ start: to + start - range.start, end: to + end - range.start });
      const first = machine.pageAt(range.start);
      for (let i = 0; i < pagesIn(range); i++) machine.memory.mremap(first + i, machine.pageAt(to) + i);
      if (moved.length === 0) {
        this.#leave(thread, done);
        return;
      }
      this.#userfaultfd()?.unregister(range);
      this.#tell(thread, call, range, { kind: "unmap", ...range }, () =>
        this.#tell(thread, call, range, { kind: "unmap", ...range }, () => this.#leave(thread, done)),
      );
    });
  }

  /** mmap of a range that isn't mapped. */
  map(range: Range): void {
    const first = this.#machine.pageAt(range.start);
    for (let i = 0; i < pagesIn(range); i++) this.#machine.memory.mmap(first + i);
  }

  /**
   * Raises the event of a memory operation of the engine itself. The promise resolves when the event was read; null if
   * the memory isn't registered.
   */
  removal(thread: ModelThread, range: Range): Promise<void> | null {
    const mappings = this.#userfaultfd()?.mappingsOn(range) ?? [];
    if (mappings.length === 0) return null;
    const call = lineOf(__NR_madvise, range, MMAN.MADV_DONTNEED);
    return new Promise((resolve) => this.#tell(thread, call, range, { kind: "remove", ...range }, resolve));
  }

  #take(range: Range): void {
    const machine = this.#machine;
    const first = machine.pageAt(range.start);
    for (let page = first; page < first + pagesIn(range); page++) {
      machine.memory.munmap(page);
      machine.contents.overwrite(page);
    }
  }

  #gone(thread: ModelThread, call: string, range: Range, then: () => void): void {
    const followed = (this.#userfaultfd()?.mappingsOn(range).length ?? 0) > 0;
    this.#userfaultfd()?.unregister(range);
    if (followed) this.#tell(thread, call, range, { kind: "unmap", ...range }, then);
    else then();
  }

  #zap(thread: ModelThread, range: Range, advice: number, then: () => void): void {
    const machine = this.#machine;
    const last = machine.pageAt(range.start) + pagesIn(range);
    const random = machine.random.stream("a page takes long");
    const from = (first: number): void => {
      for (let page = first; page < last; page++) {
        if (page > first && random.chance(PAGE_RARELY)) {
          this.#sometimes(thread, "next page ms", this.#timing.zapMs, () => from(page));
          return;
        }
        if (advice === MMAN.MADV_FREE) {
          machine.contents.notice(page, 1);
          machine.memory.freeLazily(page);
        } else {
          machine.memory.discard(page);
          machine.contents.overwrite(page);
        }
      }
      then();
    };
    from(machine.pageAt(range.start));
  }

  /** Raises an event, and continues some time after it was read; at once, if there is no userfaultfd any more. */
  #tell(thread: ModelThread, call: string, range: Range, event: MemoryEvent, then: () => void): void {
    const { clock } = this.#machine;
    const userfaultfd = this.#userfaultfd();
    if (userfaultfd === null) {
      then();
      return;
    }
    let asleep = false;
    let read = false;
    userfaultfd.raise(event, () => {
      read = true;
      // From here on the thread isn't seen waiting, though it continues a moment later. If it hadn't gone to sleep yet,
      // it continues at once.
      if (asleep) thread.isKeptFromRunning();
      clock.after(asleep ? this.#upTo("wakes ms", WAKE_MS) : 0, () => {
        thread.runs();
        then();
      });
    });
    if (read) return;
    const meant = { kind: event.kind, ranges: [range] };
    const unseenMs = this.#long("unseen", this.#timing.unseenMs);
    clock.after(unseenMs, () => {
      if (read) return;
      asleep = true;
      thread.blocks({ call, meant, reader: true });
    });
  }

  #enter(thread: ModelThread, then: () => void): void {
    thread.runs();
    this.#machine.clock.after(this.#upTo("enters ms", ENTER_MS), then);
  }

  #leave(thread: ModelThread, done: () => void): void {
    this.#machine.clock.after(this.#upTo("leaves ms", ENTER_MS), () => {
      thread.runs();
      done();
    });
  }

  /** Takes the time of a stage, during which other threads may have the processor. */
  #sometimes(thread: ModelThread, name: string, mostMs: number, then: () => void): void {
    const ms = this.#long(name, mostMs);
    if (this.#machine.random.stream("is kept from running").chance(RARELY)) thread.isKeptFromRunning();
    this.#machine.clock.after(ms, () => {
      thread.runs();
      then();
    });
  }

  #long(name: string, mostMs: number): number {
    return this.#upTo(name, this.#machine.random.stream(`${name}, rarely`).chance(RARELY) ? mostMs : mostMs / 100);
  }

  #upTo(name: string, ms: number): number {
    return this.#machine.random.stream(`other threads: ${name}`).upTo(ms);
  }
}

function pagesIn({ start, end }: Range): number {
  return (end - start) / PAGE_BYTES;
}

/** Renders a call and its arguments as /proc/PID/syscall does. */
function lineOf(number: number, { start, end }: Range, ...more: readonly number[]): string {
  return [number, ...[start, end - start, ...more].map((word) => `0x${word.toString(16)}`)].join(" ");
}
