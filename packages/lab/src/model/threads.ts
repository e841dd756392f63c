/** Threads of the process as /proc shows them: the system call that each is blocked in, and its CPU time. */

import { type Caller, RUNNING, type ThreadCalls, UNSEEN } from "pinless/portable";
import type { Machine } from "./machine.js";

/**
 * System call that a thread is blocked in. `meant` describes a call on memory; `reader` is true if the call waits for
 * the reader of the userfaultfd.
 */
export interface Blocked {
  readonly call: string;
  readonly meant: Pick<Caller, "kind" | "ranges"> | null;
  readonly reader: boolean;
}

const FIRST_TID = 100;

export class ModelThreads implements ThreadCalls {
  readonly #machine: Machine;
  readonly #threads = new Map<number, ModelThread>();
  /** True if threads can't be looked at, because the process has no descriptor left. */
  isBlind = false;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  start(): ModelThread {
    const tid = FIRST_TID + this.#threads.size;
    const thread = new ModelThread(tid, () => this.#machine.clock.nowMs);
    this.#threads.set(tid, thread);
    return thread;
  }

  callers(): Caller[] {
    const found: Caller[] = [];
    if (this.isBlind) return found;
    for (const { tid, blocked } of this.#threads.values())
      if (blocked?.reader === true && blocked.meant !== null) found.push({ tid, call: blocked.call, ...blocked.meant });
    return found;
  }

  callOf(tid: number): string | null {
    const thread = this.#threads.get(tid);
    if (thread === undefined || thread.ended) return null;
    if (this.isBlind) return UNSEEN;
    return thread.blocked?.call ?? RUNNING;
  }

  waitsForReader(tid: number): boolean {
    return this.#threads.get(tid)?.blocked?.reader === true;
  }

  cpuMs(tid: number): number {
    return this.#threads.get(tid)?.cpuMs ?? -1;
  }
}

export class ModelThread {
  readonly tid: number;
  blocked: Blocked | null = null;
  ended = false;
  readonly #nowMs: () => number;
  #usedMs = 0;
  /** Time since which the thread has a processor; null if it has none. */
  #sinceMs: number | null = null;

  constructor(tid: number, nowMs: () => number) {
    this.tid = tid;
    this.#nowMs = nowMs;
  }

  get cpuMs(): number {
    return this.#usedMs + (this.#sinceMs === null ? 0 : this.#nowMs() - this.#sinceMs);
  }

  runs(): void {
    this.blocked = null;
    this.#sinceMs ??= this.#nowMs();
  }

  /** Takes the processor away from a runnable thread: it shows as running, and uses no CPU time. */
  isKeptFromRunning(): void {
    this.blocked = null;
    this.#stop();
  }

  blocks(blocked: Blocked): void {
    this.blocked = blocked;
    this.#stop();
  }

  ends(): void {
    this.ended = true;
    this.blocked = null;
    this.#stop();
  }

  #stop(): void {
    this.#usedMs = this.cpuMs;
    this.#sinceMs = null;
  }
}
