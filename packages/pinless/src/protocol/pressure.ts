/**
 * When leases are given up, for want of memory or for the kernel's compaction, and when they may be taken again. Clocks and readings are
 * handed in.
 *
 * The numbers are from a memory cgroup of 100 MiB on Linux 6.18: files streamed through the page cache met its limit 1,200 times a second
 * while tasks stood still for 2 to 4 % of the time, which is how a limit is meant to work; with no more than 8 % of it left for the page
 * cache they stood still for 16 to 35 %, and the same stream was a ninth as fast.
 */

/** What the kernel counts of want of memory. Counters only grow; NaN where one can't be read. */
export interface PressureReading {
  /** Microseconds in which some task stood still for want of memory: of the host, of the own cgroup. */
  readonly stallsUs: readonly number[];
  /** How often the process's memory cgroup, or one above it, met a limit of its own. */
  readonly limitHits: number;
  /** Processes of it that were killed for want of memory. */
  readonly oomKills: number;
  /** How often the host failed to move pages, or to put huge ones together. */
  readonly failures: number;
}

/** Where the engine learns that memory is short. Reading blocks for microseconds. */
export interface PressureSource {
  /** The files that are read, as `stats()` says it. */
  readonly name: string;
  read(): PressureReading;
  /** Pages that the host's compaction looked at since it was booted, to move them; NaN where that can't be read now. Absent: nobody can tell. */
  scannedPages?(): number;
  /** Of the memory of the cgroup that met its limit last, the part that is page cache, 0 to 1. */
  cacheShare(): number;
}

/** Faster than what the kernel itself tells: its own triggers look once in 2 s for ordinary users, at least 500 ms for root. */
export const SAMPLE_MS = 250;
/** Of the time, tasks stood still: this much is pressure, … */
const STALLED = 0.1;
/** … and this much where the host fails to move or join pages at the same time, as pins make it. Below, memory is quiet. */
const UNQUIET = 0.05;
/** At its limit, a cgroup with no more page cache than this (of its memory) has nothing to reclaim but what runs. */
const CACHE_LEFT = 0.1;
/** How long memory must be quiet: four readings, and little enough that a short squeeze costs little. */
const QUIET_MS = 1000;
/** Leases are there for 1 % of the time then, if pressure comes with each one, and come back half a minute after it has gone for good. */
const MAX_QUIET_MS = 32_000;

/** Compaction goes past what is pinned when it gets there, and isn't told of it later: it's looked for often. */
const COMPACTION_SAMPLE_MS = 25;
/** Pages that it scanned since: more than somebody takes who looks for one huge page. */
const COMPACTING_PAGES = 16_384;
/** A reading from longer ago doesn't tell whether it's at work now. */
const COMPACTION_STALE_MS = 1000;
/** It comes in rounds, half a second apart where it's the kernel's own idea. */
const COMPACTION_QUIET_MS = 750;

export class Pressure {
  readonly #source: PressureSource;
  #reading: PressureReading | null = null;
  #readAtMs = 0;
  #quietMs = QUIET_MS;
  /** When leases were last allowed again; null: they were never given up. */
  #againAtMs: number | null = null;
  #scanned: number | null = null;
  #scannedAtMs = 0;
  /** They're given up for compaction: since when it has been quiet; null: for want of memory. */
  #quietSinceMs: number | null = null;
  /** Leases are given up: until a request wants one after memory was quiet. */
  active = false;
  /** How often they were given up. */
  givenUp = 0;

  constructor(source: PressureSource) {
    this.#source = source;
  }

  get source(): string {
    return this.#source.name;
  }

  /** Asked while leases are held; reads at most every 250 ms, and what compaction does every 25 ms. True: give them up now. */
  rises(nowMs: number): boolean {
    if (this.#isCompacting(nowMs)) {
      this.#quietSinceMs = nowMs;
      this.active = true;
      this.givenUp++;
      return true;
    }
    if (this.#reading !== null && isWithin(SAMPLE_MS, this.#readAtMs, nowMs)) return false;
    if (!this.#isPressed(nowMs, STALLED)) return false;
    // They weren't even there for as long as they had been waited for: that's too little to wait.
    const soon = this.#againAtMs !== null && isWithin(this.#quietMs, this.#againAtMs, nowMs);
    this.#quietMs = soon ? Math.min(2 * this.#quietMs, MAX_QUIET_MS) : QUIET_MS;
    this.active = true;
    this.givenUp++;
    return true;
  }

  /** Asked while leases are given up and a request wants one; reads once in each quiet time. True: take them again. */
  isOver(nowMs: number): boolean {
    if (this.#quietSinceMs !== null) {
      if (this.#isCompacting(nowMs)) this.#quietSinceMs = nowMs;
      if (isWithin(COMPACTION_QUIET_MS, this.#quietSinceMs, nowMs)) return false;
      this.#quietSinceMs = null;
      this.active = false;
      return true;
    }
    if (isWithin(this.#quietMs, this.#readAtMs, nowMs)) return false;
    // The counters only grow, so one reading at its end tells of the whole time.
    if (this.#isPressed(nowMs, UNQUIET)) return false;
    this.active = false;
    this.#againAtMs = nowMs;
    return true;
  }

  /** Whether the kernel's compaction has been at work since the last reading, if another one is due. */
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

/** Also where the clock has wrapped; after more than 24 days it's false. */
function isWithin(ms: number, sinceMs: number, nowMs: number): boolean {
  const elapsedMs = (nowMs - sinceMs) | 0;
  return elapsedMs >= 0 && elapsedMs < ms;
}
