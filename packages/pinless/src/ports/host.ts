/** The world as the engine sees it: all ports in one. `index.ts` hands over the real one. */

import type { DescribeErrno } from "../protocol/errors.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import type { PressureSource } from "../protocol/pressure.js";
import type { Loop, Scheme, SchemeName } from "../protocol/scheme.js";
import type { Memory } from "./memory.js";
import type { Follower, MonitorEnded, Watchdog } from "./monitor.js";
import type { FilePath, OpenedFile } from "./opened-file.js";
import type { EngineSettings, PinMode } from "./options.js";

export interface Host {
  readonly memory: Memory;
  /** For a few MiB of the engine's own, which nobody else knows of. Absent: as all memory. */
  readonly ownMemory?: Memory;
  readonly loop: Loop;
  readonly describe: DescribeErrno;
  waitHistogram(): WaitHistogram;
  /** What this process may pin at most, in bytes. */
  memlockBytes(): number;
  /** A scheme, or one sentence that says why not and what to change. */
  startScheme(name: SchemeName, settings: EngineSettings, bufferSlots: number): StartedScheme | string;
  openFollower(calls: ForeignCalls, ended: MonitorEnded): Follower;
  /** The word that followers raise (announcements.ts). */
  readonly reading?: Int32Array;
  /** Who says whether memory is short. `missing`: what is left out, and why, a sentence each. Absent: memory is never short. */
  openPressure?(): { readonly source: PressureSource | null; readonly missing: readonly string[] };
  openFile(path: FilePath, flags?: string | number, mode?: number): Promise<OpenedFile>;
}

/** A distribution of milliseconds. */
export interface WaitHistogram {
  record(ms: number): void;
  summary(): { count: number; p50Ms: number; p99Ms: number; maxMs: number };
}

/** A scheme that runs, and the pin mode that it can really give. */
export interface StartedScheme {
  readonly scheme: Scheme;
  readonly pin: PinMode;
  readonly degraded: string[];
  onWoken(run: () => void): void;
  openWatchdog(ended: MonitorEnded): Watchdog;
}
