/** Host: all ports of the engine in one object. `index.ts` passes the real kernel, the lab a simulated machine. */

import type { DescribeErrno } from "../protocol/errors.js";
import type { ForeignCalls } from "../protocol/foreign-calls.js";
import type { PressureSource } from "../protocol/pressure.js";
import type { ProtocolObserver } from "../protocol/protocol.js";
import type { Loop, Scheme, SchemeName } from "../protocol/scheme.js";
import type { Channels } from "./channel.js";
import type { Memory } from "./memory.js";
import type { Follower, MonitorEnded, Watchdog } from "./monitor.js";
import type { FilePath, OpenedFile } from "./opened-file.js";
import type { EngineSettings, PinMode } from "./options.js";

export const NO_ROOM_FOR_RING =
  "RLIMIT_MEMLOCK leaves no room for a ring: raise it (ulimit -l), or choose a smaller depth.";

export interface Host {
  readonly memory: Memory;
  /** Memory for a few MiB that only the engine uses; `memory` if undefined. */
  readonly ownMemory?: Memory;
  readonly loop: Loop;
  readonly describe: DescribeErrno;
  waitHistogram(): WaitHistogram;
  /** Maximum number of bytes that this process may pin (RLIMIT_MEMLOCK). */
  memlockBytes(): number;
  /** Starts a scheme, or returns a sentence that says why it can't be started and what to change. */
  startScheme(name: SchemeName, settings: EngineSettings, bufferSlots: number): StartedScheme | string;
  /** Channels to other threads; undefined if there are none. */
  readonly channels?: Channels;
  openFollower(calls: ForeignCalls, ended: MonitorEnded): Follower;
  /** Word that the monitor raises while it reads events (protocol/monitor). */
  readonly reading?: Int32Array;
  /**
   * Opens the files that show memory pressure. `missing` has a sentence for each file that can't be read, with the
   * reason. If undefined, memory is never short.
   */
  openPressure?(): { readonly source: PressureSource | null; readonly missing: readonly string[] };
  openFile(path: FilePath, flags?: string | number, mode?: number): Promise<OpenedFile>;
}

/** A distribution of milliseconds. */
export interface WaitHistogram {
  record(ms: number): void;
  summary(): { count: number; p50Ms: number; p99Ms: number; maxMs: number };
}

/** A running scheme, and the pin mode that it really supports here. */
export interface StartedScheme {
  readonly scheme: Scheme;
  readonly pin: PinMode;
  readonly degraded: string[];
  /** Receiver of what happens in the protocol, if the engine is traced. */
  readonly observer?: ProtocolObserver;
  onWoken(run: () => void): void;
  openWatchdog(ended: MonitorEnded): Watchdog;
}
