/** The monitor's state and its reports as words: what of them makes a difference to what can happen next. */

import type { Caller, MonitorReport, MonitorState, Range, SegmentChunks, StateWords } from "pinless/portable";
import type { CallingThreads } from "./calling-threads.js";
import type { CaseContext } from "./context.js";

const KINDS: readonly MonitorReport["kind"][] = ["start", "end", "concluded", "unmapped"];

export class MonitorWords {
  readonly #ground: CaseContext;
  readonly #threads: CallingThreads;

  constructor(ground: CaseContext, threads: CallingThreads) {
    this.#ground = ground;
    this.#threads = threads;
  }

  putState(state: MonitorState, to: StateWords): void {
    const { lease, late } = state;
    to.put(state.doing);
    to.put(state.sinceMs);
    to.put(state.again ? 1 : 0);
    to.put(state.start);
    to.put(state.looked);
    to.put(state.dueMs);
    to.put(lease === null ? -1 : lease.slot);
    to.put(late === null ? 0 : late.kind === "unmap" ? 1 : 2);
    if (late !== null) this.#putRange(late, to);
    this.#putCallers(state.callers, to);
    this.#putCallers(state.unread, to);
    putChunks(state.discarded, to);
    putChunks(state.unmapped, to);
    putChunks(state.lateChunks, to);
    putChunks(state.losing, to);
    to.put(state.gone.length);
    for (const range of state.gone) this.#putRange(range, to);
    this.#putPolled(state.letGo, to);
    to.put(state.pending.length);
    for (const { polled, untilMs, start, announced } of state.pending) {
      this.#putPolled(polled, to);
      to.put(untilMs);
      to.put(start);
      putChunks(announced, to);
    }
  }

  putReport(report: MonitorReport, to: StateWords): void {
    to.put(KINDS.indexOf(report.kind));
    if (report.kind === "start" || report.kind === "end") to.put(report.id);
    if (report.kind === "start") to.put(this.#threads.callsOf(report.ranges));
    if (report.kind === "unmapped") {
      this.#putRange(report.gone, to);
      putChunks(report.announced, to);
    }
  }

  #putCallers(callers: readonly Caller[], to: StateWords): void {
    to.put(callers.length);
    for (const caller of callers) to.put(this.#threads.numberOf(caller));
  }

  #putPolled(polled: MonitorState["letGo"], to: StateWords): void {
    to.put(polled.length);
    for (const { caller, goesOn } of polled) to.put(2 * this.#threads.numberOf(caller) + (goesOn ? 1 : 0));
  }

  #putRange({ start, end }: Range, to: StateWords): void {
    to.put(this.#ground.pageAt(start));
    to.put(this.#ground.pageAt(end));
  }
}

/** All of them are of the one segment that there is. */
function putChunks(all: readonly SegmentChunks[], to: StateWords): void {
  to.put(all.length);
  for (const { first, last } of all) {
    to.put(first);
    to.put(last);
  }
}
