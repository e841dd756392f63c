/** The configurations that are compared. */

import type { ArenaOptions, PinMode, SchemeName } from "pinless";

/** One row: a way to read a file, run in a process of its own. */
export interface Configuration {
  readonly name: string;
  /** Name that fits into a table. */
  readonly label: string;
  /** Remark for what isn't obvious. */
  readonly note: string;
  readonly reads: EngineReads | NodeReads;
}

export type PageSize = "huge" | "small";

export interface EngineReads {
  readonly by: "engine";
  readonly scheme: SchemeName;
  readonly pin: PinMode;
  /** Kind of pages for the arena, as far as the machine has them. */
  readonly pages: PageSize;
}

export interface NodeReads {
  readonly by: "node:fs";
  /** True for O_DIRECT, false for the page cache. */
  readonly direct: boolean;
}

/**
 * Arena options of the pages: huge ones that aren't inherited are the engine's default; small, inherited ones are what
 * a program gets by plain mmap.
 */
export function arenaOptions({ pages }: EngineReads): Omit<ArenaOptions, "bytes"> {
  return pages === "huge" ? {} : { hugePages: false, inherit: true };
}

function uring(pin: PinMode, pages: PageSize, note: string): Configuration {
  const small = pages === "small";
  return {
    name: `io_uring × ${pin}${small ? ", small pages" : ""}`,
    label: `${pin}${small ? ", small" : ""}`,
    note: `io_uring: ${note}; ${small ? "small pages, inherited on fork" : "huge pages, MADV_DONTFORK"}`,
    reads: { by: "engine", scheme: "io_uring", pin, pages },
  };
}

export const LEASE = uring("lease", "huge", "registered while I/O needs it");
export const LEASE_SMALL = uring("lease", "small", "the same");
/** The baseline for speed: like the lease configuration except for the pin mode. */
export const LIFETIME = uring("lifetime", "huge", "registered for ever");
export const LIFETIME_SMALL = uring("lifetime", "small", "registered for ever, as programs do");
export const PER_IO = uring("per-io", "huge", "never registered: pages looked up for each request");
const PER_IO_SMALL = uring("per-io", "small", "the same");

export const CONFIGURATIONS: readonly Configuration[] = [
  LEASE,
  LEASE_SMALL,
  LIFETIME,
  LIFETIME_SMALL,
  PER_IO,
  PER_IO_SMALL,
  {
    name: "aio × per-io",
    label: "aio",
    note: "Linux AIO; huge pages, MADV_DONTFORK",
    reads: { by: "engine", scheme: "aio", pin: "per-io", pages: "huge" },
  },
  {
    name: "direct × per-io",
    label: "direct",
    note: "O_DIRECT calls on libuv's threads; huge pages, MADV_DONTFORK",
    reads: { by: "engine", scheme: "direct", pin: "per-io", pages: "huge" },
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

/** Explains the gaps in the matrix of schemes and pin modes. */
export const NO_OTHER_PINS = "aio and direct register nothing: per-io is the only pin mode that they have";
