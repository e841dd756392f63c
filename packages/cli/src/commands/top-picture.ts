/** Renders the figures of a process: a block of short lines for a terminal, one long line for a pipe. */

import type { EngineStats } from "pinless";
import { mibText } from "../command/figures.js";
import { wrap } from "../command/grid.js";
import { printable } from "../command/printable.js";

export interface EngineFigures extends EngineStats {
  readonly engine: number;
  /** Rate of completed requests; null while it's unknown. */
  readonly requestsPerSecond: number | null;
}

export interface ThreadFigures {
  readonly thread: number;
  /** Seconds without an answer; the figures are from before then. */
  readonly silentSeconds: number;
  readonly engines: readonly EngineFigures[];
}

export interface Picture {
  readonly time: string;
  readonly pid: number;
  readonly threads: readonly ThreadFigures[];
}

const count = (value: number): string => value.toLocaleString("en-US");
const rate = (perSecond: number | null): string => (perSecond === null ? "?" : count(Math.round(perSecond)));

/** Lines for a terminal, at most `columns` wide. */
export function linesOf({ time, pid, threads }: Picture, columns: number): string[] {
  const lines = [`pinless ${pid}  ${timeOfDay(time)}`];
  for (const { thread, silentSeconds, engines } of threads) {
    if (threads.length > 1 || thread !== 0) lines.push("", `thread ${thread}`);
    if (silentSeconds > 0) lines.push(`event loop busy for ${silentSeconds} s`);
    for (const figures of engines) lines.push("", ...engineLines(figures, engines.length > 1, columns));
  }
  if (threads.length === 0) lines.push("", "no engine is open");
  return lines.map((line) => line.slice(0, columns));
}

function engineLines(figures: EngineFigures, isNumbered: boolean, columns: number): string[] {
  const { scheme, pin, leases, waited, pressure, invalidations } = figures;
  const seen = Object.entries(invalidations).filter(([, times]) => times > 0);
  const lines = [
    `${isNumbered ? `${figures.engine}: ` : ""}${scheme}, ${pin}: ${rate(figures.requestsPerSecond)}/s`,
    `requests  ${count(figures.completed)} done, ${count(figures.failed)} failed`,
    `per-io    ${count(figures.perIo)}`,
    `copied    ${count(figures.bounced)}, page cache ${count(figures.buffered)}`,
  ];
  if (pin === "lease")
    lines.push(
      `leases    ${count(leases.live)} live, ${mibText(leases.bytes)}`,
      `          ${count(leases.taken)} taken, ${count(leases.dropped)} dropped`,
      `longest   ${count(leases.residencyMax)} ms`,
    );
  lines.push(`held      ${count(figures.held)}`);
  for (const [event, times] of seen) lines.push(`${event.padEnd(9)} ${count(times)}`);
  if (waited.count > 0) lines.push(`waited    ${waited.p99Ms.toFixed(1)} ms (99 %), ${waited.maxMs.toFixed(1)} most`);
  if (pressure.givenUp > 0)
    lines.push(`pressure  ${count(pressure.givenUp)} times${pressure.active ? ", and now" : ""}`);
  for (const reason of figures.degraded) lines.push(...wrap(`! ${printable(reason)}`, columns, "  "));
  return lines;
}

/** Line for a pipe, with all engines of the process together. */
export function lineOf({ time, pid, threads }: Picture): string {
  const engines = threads.flatMap((thread) => thread.engines);
  const sum = (of: (figures: EngineFigures) => number): number => engines.reduce((all, each) => all + of(each), 0);
  const isUnknown = engines.some(({ requestsPerSecond }) => requestsPerSecond === null);
  const fields = [
    timeOfDay(time),
    String(pid),
    `engines ${engines.length}`,
    `requests/s ${isUnknown ? "?" : Math.round(sum((each) => each.requestsPerSecond!))}`,
    `leases ${sum((each) => each.leases.live)}`,
    mibText(sum((each) => each.leases.bytes)),
    `taken ${sum((each) => each.leases.taken)}`,
    `dropped ${sum((each) => each.leases.dropped)}`,
    `per-io ${sum((each) => each.perIo)}`,
    `held ${sum((each) => each.held)}`,
    `failed ${sum((each) => each.failed)}`,
    `invalidations ${sum((each) => Object.values(each.invalidations).reduce((all, times) => all + times, 0))}`,
    `residency ${Math.max(0, ...engines.map((each) => each.leases.residencyMax))} ms`,
    `degraded ${sum((each) => each.degraded.length)}`,
  ];
  const silent = Math.max(0, ...threads.map(({ silentSeconds }) => silentSeconds));
  if (silent > 0) fields.push(`event loop busy for ${silent} s`);
  return fields.join("  ");
}

function timeOfDay(time: string): string {
  return new Date(time).toTimeString().slice(0, 8);
}
