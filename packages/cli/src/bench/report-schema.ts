/** What is measured: the shape of the JSON, and of what the processes of a run tell each other. Units are in the names. */

/** Why a figure isn't there. */
export interface Skipped {
  readonly skipped: string;
}

export type Maybe<T> = T | Skipped;

export function isSkipped(value: unknown): value is Skipped {
  return typeof value === "object" && value !== null && "skipped" in value;
}

/** Of every sampled request in all rounds. */
export interface LatencyFigures {
  readonly samples: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

/** One slice of a load. */
export interface LoadFigures {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly cpuUs: number;
  /** Sampled requests whose data was looked at, and those of them whose data hadn't arrived. */
  readonly readsChecked: number;
  readonly readsLost: number;
  /** So far, over all slices of this kind. */
  readonly latency: LatencyFigures;
  readonly storm: StormFigures | null;
  /** So far, over all storms. */
  readonly waits: WaitFigures | null;
  readonly ran: Ran;
}

/** A load over all its rounds: medians of the slices, sums of the counts. */
export interface LoadSummary {
  readonly requestsPerSecond: number;
  readonly mibPerSecond: number;
  readonly cpuUsPerRequest: number;
  readonly latency: LatencyFigures;
  readonly requests: number;
  readonly readsChecked: number;
  readonly readsLost: number;
  readonly roundsRequestsPerSecond: readonly number[];
}

export const STORM_OPERATIONS = ["discard", "pageOut", "collapse"] as const;
export type StormOperation = (typeof STORM_OPERATIONS)[number];

export interface OperationFigures {
  readonly operations: number;
  readonly pagesAsked: number;
  readonly pagesDone: number;
  readonly pagesRefused: number;
  readonly waitP50Ms: number;
  readonly waitP99Ms: number;
  readonly waitMaxMs: number;
}

/** How long memory operations of all kinds waited for I/O. */
export interface WaitFigures {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** In ascending order; each has what is in none before it. The last one's bound is null: there is none. */
  readonly buckets: readonly { readonly belowMs: number | null; readonly count: number }[];
}

/** So far, over all slices. */
export type StormFigures = Readonly<Record<StormOperation, Maybe<OperationFigures>>>;

export interface StormSummary extends LoadSummary {
  /** Of the throughput without a storm. */
  readonly throughputKept: number;
  readonly operations: StormFigures;
  readonly waits: WaitFigures;
}

/** Blocks of 4 KiB read into memory, and how many of them weren't there afterwards. */
export interface LossFigures {
  readonly blocksRead: number;
  readonly blocksLost: number;
  readonly bytesLost: number;
}

export interface LossesFigures {
  readonly afterDiscard: Maybe<LossFigures>;
  readonly afterReclaim: Maybe<LossFigures>;
}

export interface RestFigures {
  readonly pinnedBytesUnderLoad: number;
  /** `afterMs` after the last request. */
  readonly pinnedBytesAtRest: number;
  readonly afterMs: number;
  /** The longest that one registration lasted; null: for ever. */
  readonly residencyMaxMs: number | null;
}

export interface SpawnFigures {
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  readonly medianMs: number;
  readonly samplesMs: readonly number[];
  readonly degraded: readonly string[];
}

/** What it costs to look pages up again after an invalidation: where the I/O is, less the same elsewhere. */
export interface RevalidationFigures {
  /** Where the I/O is, one at a time. */
  readonly invalidations: number;
  /** On account of those. */
  readonly leasesTaken: number;
  /** By which the reads after one take longer: the difference of the medians; 0 where it's within their noise. */
  readonly usPerInvalidation: number;
  /** The same for each lease taken; null: none was. */
  readonly usPerLease: number | null;
  /** By so many fewer reads come to their end for one, with `IN_FLIGHT` on their way all the time; 0 where it's within the noise. */
  readonly requestsFewerPerInvalidation: number;
  /** /proc/vmstat pgmigrate_success meanwhile, and while the invalidations were elsewhere: of the whole host, whoever it was. */
  readonly hostPagesMigrated: number;
  readonly hostPagesMigratedElsewhere: number;
}

/** Pages that were to go to another NUMA node while reads were on their way. */
export interface MigrationFigures extends OperationFigures {
  readonly nodes: readonly number[];
}

/** Huge pages that the host could still get while buffers lay scattered over its memory (harms/host-huge-pages.ts). */
export interface HostHugeRow {
  readonly name: string;
  readonly label: string;
  readonly note: string;
  readonly figures: Maybe<HostHugeFigures>;
}

export interface HostHugeFigures {
  /** What really ran; null: no engine. */
  readonly pin: string | null;
  readonly bufferBytes: number;
  readonly pinnedBytes: number;
  /** Areas of 2 MiB that the buffers lay in, and in how many after the attempt: the kernel moves what it can. */
  readonly blocksBefore: number;
  readonly blocksAfter: number;
  readonly hugePagesAsked: number;
  readonly hugePagesGot: number;
  readonly missingBytes: number;
  readonly elapsedMs: number;
  /** One request for `stepPages` at a time: how long those took. */
  readonly stepPages: number;
  readonly stepP50Ms: number;
  readonly stepMaxMs: number;
  /** /proc/vmstat meanwhile, of the whole host. */
  readonly compactStalls: number;
  readonly compactFails: number;
  readonly hostPagesMigrated: number;
}

export interface HostHuge {
  /** The piece of memory that the buffers lie scattered over. */
  readonly regionBytes: number;
  readonly rows: readonly HostHugeRow[];
}

/** What really ran, whatever was asked for. */
export interface Ran {
  readonly scheme: string;
  readonly pin: string;
  /** Around the page cache. */
  readonly direct: boolean;
  readonly kernel: string;
  readonly filesystem: string;
  /** Share of the requests that went by a registration. */
  readonly registeredShare: number;
  /** Share of the arena that was in huge pages when it was made; null: there's no arena. */
  readonly hugeShare: number | null;
  readonly degraded: readonly string[];
}

export interface Row {
  readonly name: string;
  readonly label: string;
  readonly note: string;
  /** What was asked for; null: node:fs. */
  readonly scheme: string | null;
  readonly pin: string | null;
  readonly pages: string | null;
  readonly ran: Maybe<Ran>;
  readonly read4KiB: Maybe<LoadSummary>;
  readonly read128KiB: Maybe<LoadSummary>;
  readonly storm4KiB: Maybe<StormSummary>;
  readonly lostAfterDiscard: Maybe<LossFigures>;
  readonly lostAfterReclaim: Maybe<LossFigures>;
  readonly rest: Maybe<RestFigures>;
  readonly spawn: Maybe<SpawnFigures>;
  readonly revalidation: Maybe<RevalidationFigures>;
  readonly migration: Maybe<MigrationFigures>;
}

export interface Machine {
  readonly kernel: string;
  readonly arch: string;
  readonly node: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly memoryAvailableBytes: number;
  readonly user: number;
  /** What this user may pin; null: as much as there is. */
  readonly memlockBytes: number | null;
  readonly ioUringDisabled: number | null;
  readonly hugePages: string | null;
  readonly numaNodes: number;
  readonly swap: "active" | "temporary" | "none";
  /** Why there is no swap. */
  readonly swapReason: string | null;
}

/** Of the report's shape: another number, another meaning. */
export const FORMAT = 2;

export interface Report {
  readonly pinless: string;
  readonly format: typeof FORMAT;
  readonly machine: Machine;
  readonly settings: {
    readonly file: string;
    readonly fileBytes: number;
    readonly filesystem: string;
    readonly inFlight: number;
    readonly sliceMs: number;
    readonly rounds: number;
    readonly stormEveryMs: number;
    readonly seconds: number;
    readonly quick: boolean;
  };
  readonly rows: readonly Row[];
  readonly hostHugePages: Maybe<HostHuge>;
  readonly verdict: readonly string[];
  readonly elapsedSeconds: number;
}
