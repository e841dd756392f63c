/**
 * Memory pressure: decides when leases are given up, because memory is short or the kernel compacts it or would move it
 * to another node, and when they may be taken again. Clocks and readings are handed in.
 *
 * The numbers were measured in a memory cgroup of 100 MiB on Linux 6.18. Files streamed through the page cache met the
 * limit 1,200 times a second while tasks stalled for 2 to 4 % of the time, which is how a limit is meant to work. With
 * no more than 8 % of it left for the page cache tasks stalled for 16 to 35 %, and the same stream was a ninth as fast.
 */

import { isWithin } from "./elapsed.js";
import { Placement } from "./placement.js";

/** Counters of the kernel that tell of memory pressure. They only grow; NaN: it can't be read. */
export interface PressureReading {
  /** Microseconds in which some task stalled for memory: on the host, in the own cgroup (PSI, "some"). */
  readonly stallsUs: readonly number[];
  /** Times that the process's memory cgroup, or one above it, met its own limit. */
  readonly limitHits: number;
  /** Processes of the cgroup that the OOM killer ended. */
  readonly oomKills: number;
  /** Times that the host failed to migrate a page or to make a huge page. */
  readonly failures: number;
}

/** Source of pressure readings. Reading blocks for microseconds. */
export interface PressureSource {
  /** Names of the files that are read, for `stats()`. */
  readonly name: string;
  read(): PressureReading;
  /**
   * Pages that the host's compaction has scanned since boot, to move them; NaN if they can't be read now. Absent: this
   * kernel doesn't say.
   */
  scannedPages?(): number;
  /**
   * Number of these pages that NUMA balancing would move to the node that the calling thread runs on, if they weren't
   * pinned. Absent: the machine has one node.
   */
  elsewhere?(pages: readonly number[]): number;
  /** Share of page cache in the memory of the cgroup that met its limit last, 0 to 1. */
  cacheShare(): number;
}

/** Shorter than the kernel's own triggers, which look once in 2 s for ordinary users and in 500 ms for root. */
export const SAMPLE_MS = 250;
/** Share of the time in which tasks stalled that counts as pressure. */
const STALLED = 0.1;
/** The same while the host also fails to migrate or join pages, as it does for pins. Below this, memory is quiet. */
const UNQUIET = 0.05;
/** At its limit, a cgroup with a smaller share of page cache than this can only reclaim memory in use. */
const CACHE_LEFT = 0.1;
/** Time that memory must be quiet: four readings, and so short that a brief squeeze costs little. */
const QUIET_MS = 1000;
/**
 * If each lease brings pressure, leases are held for 1 % of the time; afterwards they are back within half a minute.
 */
const MAX_QUIET_MS = 32_000;

/** Compaction passes over pinned pages once and doesn't come back, so it is looked for often. */
const COMPACTION_SAMPLE_MS = 25;
/** More scanned pages than this mean compaction at work; a single huge page costs fewer. */
const COMPACTING_PAGES = 16_384;
/** An older reading doesn't say whether compaction is at work now. */
const COMPACTION_STALE_MS = 1000;
/** Proactive compaction comes in rounds, half a second apart. */
const COMPACTION_QUIET_MS = 750;

export class Pressure {
  readonly #source: PressureSource;
  readonly #placement: Placement | null;
  #reading: PressureReading | null = null;
  #readAtMs = 0;
  #quietMs = QUIET_MS;
  /** Time at which leases were last allowed again; null: they were never given up. */
  #againAtMs: number | null = null;
  #scanned: number | null = null;
  #scannedAtMs = 0;
  /** If leases are given up for compaction, the time of its last activity; null: they are given up for pressure. */
  #quietSinceMs: number | null = null;
  /** True while leases are given up: until a request wants one after memory was quiet. */
  active = false;
  /** Times that leases were given up. */
  givenUp = 0;

  constructor(source: PressureSource) {
    this.#source = source;
    this.#placement = source.elsewhere === undefined ? null : new Placement((pages) => source.elsewhere!(pages));
  }

  get source(): string {
    return this.#source.name;
  }

  /**
   * Returns true if leases are to be given up now. Called while leases are held. Reads pressure at most every 250 ms,
   * compaction every 25 ms and, on a machine of many nodes, the nodes of `pages`, a sample of what is leased, every
   * second.
   */
  rises(nowMs: number, pages: () => readonly number[]): boolean {
    if (!this.#hasReason(nowMs, pages)) return false;
    this.active = true;
    this.givenUp++;
    return true;
  }

  #hasReason(nowMs: number, pages: () => readonly number[]): boolean {
    if (this.#placement?.isWrong(nowMs, pages) === true) return true;
    if (this.#isCompacting(nowMs)) {
      this.#quietSinceMs = nowMs;
      return true;
    }
    if (this.#reading !== null && isWithin(SAMPLE_MS, this.#readAtMs, nowMs)) return false;
    if (!this.#isPressed(nowMs, STALLED)) return false;
    // Pressure came back sooner than leases had stayed away, so they stay away twice as long.
    const soon = this.#againAtMs !== null && isWithin(this.#quietMs, this.#againAtMs, nowMs);
    this.#quietMs = soon ? Math.min(2 * this.#quietMs, MAX_QUIET_MS) : QUIET_MS;
    return true;
  }

  /**
   * Returns true once leases may be taken again. Called while they are given up and a request wants one; reads once in
   * each quiet time.
   */
  isOver(nowMs: number): boolean {
    if (this.#placement?.isAwaited === true) this.active = !this.#placement.isSettled(nowMs);
    else if (this.#quietSinceMs !== null) this.active = !this.#isCompacted(nowMs, this.#quietSinceMs);
    else this.active = !this.#isQuiet(nowMs);
    return !this.active;
  }

  #isCompacted(nowMs: number, quietSinceMs: number): boolean {
    this.#quietSinceMs = this.#isCompacting(nowMs) ? nowMs : quietSinceMs;
    if (isWithin(COMPACTION_QUIET_MS, this.#quietSinceMs, nowMs)) return false;
    this.#quietSinceMs = null;
    return true;
  }

  #isQuiet(nowMs: number): boolean {
    if (isWithin(this.#quietMs, this.#readAtMs, nowMs)) return false;
    // The counters only grow, so one reading at the end of the quiet time covers all of it.
    if (this.#isPressed(nowMs, UNQUIET)) return false;
    this.#againAtMs = nowMs;
    return true;
  }

  /** True if a reading is due and compaction has been at work since the last one. */
  #isCompacting(nowMs: number): boolean {
    const before = this.#scanned;
    const beforeMs = this.#scannedAtMs;
    if (before !== null && isWithin(COMPACTION_SAMPLE_MS, beforeMs, nowMs)) return false;
    this.#scanned = this.#source.scannedPages?.() ?? 0;
    this.#scannedAtMs = nowMs;
    return (
      before !== null && isWithin(COMPACTION_STALE_MS, beforeMs, nowMs) && this.#scanned - before >= COMPACTING_PAGES
    );
  }

  /** Reads, and compares with the reading before. */
  #isPressed(nowMs: number, stalled: number): boolean {
    const before = this.#reading;
    const now = this.#source.read();
    const elapsedMs = (nowMs - this.#readAtMs) | 0;
    this.#reading = now;
    this.#readAtMs = nowMs;
    if (before === null) return false;
    if (now.oomKills > before.oomKills) return true;
    const stalledUs = now.stallsUs.map((us, i) => us - (before.stallsUs[i] ?? us));
    const share = Math.max(0, ...stalledUs.filter((us) => !Number.isNaN(us))) / (elapsedMs * 1000);
    if (share >= (now.failures > before.failures ? UNQUIET : stalled)) return true;
    return now.limitHits > before.limitHits && this.#source.cacheShare() <= CACHE_LEFT;
  }
}
