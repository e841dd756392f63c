/** What runs side by side. */

import type { ArenaOptions, PinMode } from "../index.js";

/** One row: a way to read a file, in a process of its own. */
export interface Configuration {
  readonly name: string;
  /** As a table has room for it. */
  readonly label: string;
  /** What about it isn't obvious. */
  readonly note: string;
  readonly reads: EngineReads | NodeReads;
}

export interface EngineReads {
  readonly by: "engine";
  readonly pin: PinMode;
  readonly arena: Omit<ArenaOptions, "bytes">;
}

export interface NodeReads {
  readonly by: "node:fs";
  /** O_DIRECT, or through the page cache. */
  readonly direct: boolean;
}

export const CONFIGURATIONS: readonly Configuration[] = [
  {
    name: "io_uring × lease",
    label: "lease",
    note: "registered while I/O needs it; huge pages, not inherited",
    reads: { by: "engine", pin: "lease", arena: {} },
  },
  {
    name: "io_uring × lifetime",
    label: "lifetime",
    note: "registered for ever, as programs do; inherited on fork",
    reads: { by: "engine", pin: "lifetime", arena: { inherit: true, hugePages: false } },
  },
  {
    // The same arena as the lease's: only the pin is another, so this is the one that speed is compared with.
    name: "io_uring × lifetime + MADV_DONTFORK",
    label: "lifetime, DONTFORK",
    note: "registered for ever; the same arena as the lease's",
    reads: { by: "engine", pin: "lifetime", arena: {} },
  },
  {
    name: "io_uring × per-io",
    label: "per-io",
    note: "never registered: pages looked up for each request",
    reads: { by: "engine", pin: "per-io", arena: {} },
  },
  {
    name: "node:fs, page cache",
    label: "node:fs, cached",
    note: "FileHandle.read from the page cache: no disk is asked",
    reads: { by: "node:fs", direct: false },
  },
  {
    name: "node:fs, O_DIRECT",
    label: "node:fs, O_DIRECT",
    note: "FileHandle.read around the page cache, by libuv's threads",
    reads: { by: "node:fs", direct: true },
  },
];

export const LEASE = CONFIGURATIONS[0]!;
export const LIFETIME = CONFIGURATIONS[1]!;
export const LIFETIME_SAME_ARENA = CONFIGURATIONS[2]!;
export const PER_IO = CONFIGURATIONS[3]!;
