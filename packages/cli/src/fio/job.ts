/** A parsed fio job: the value of every option in the unit that its name ends with, and what follows from them. */

/** Kinds of I/O, in fio's order, which is also that of the arrays in its logs. */
export const DIRECTIONS = ["read", "write", "trim"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** A value for each kind of I/O. */
export type PerDirection<Value> = Readonly<Record<Direction, Value>>;

/** A size that's given in bytes or as a part of the file's or the job's. */
export interface Size {
  readonly bytes: number;
  /** Percent of the whole, 1 to 100; null if it was given in bytes. */
  readonly percent: number | null;
}

/** A range of sizes; both ends are equal for a single one. */
export interface SizeRange {
  readonly min: number;
  readonly max: number;
}

/** A share of a split: of block sizes, or of parts of a file. */
export interface Share {
  readonly bytes: number;
  readonly percent: number;
}

/** A pattern of buffers or of verification: bytes, in which `%o` stands for the offset of the I/O (8 bytes). */
export interface Pattern {
  readonly bytes: Uint8Array;
  /** Places in `bytes` where the offset of the I/O is written. */
  readonly offsetsAt: readonly number[];
}

/** Distribution of random offsets; `theta` is zipf's, `power` pareto's, `deviation` normal's, in percent. */
export type Distribution =
  | { readonly kind: "random" }
  | { readonly kind: "zipf"; readonly theta: number; readonly center: number | null }
  | { readonly kind: "pareto"; readonly power: number; readonly center: number | null }
  | { readonly kind: "normal"; readonly deviation: number; readonly center: number | null };

/** Kinds of verification; `null` is off. `pattern` has no header; `pattern_hdr` has one before the pattern. */
export type Verification = "crc32c" | "md5" | "sha1" | "sha256" | "xxhash" | "meta" | "pattern" | "pattern_hdr";

/** A memory operation that is repeated during the job (`mm_events`, not fio's). */
export interface MemoryEvent {
  readonly operation: "collapse" | "discard" | "migrate" | "pageOut" | "protect";
  readonly everyUs: number;
}

export type ServiceType = "random" | "roundrobin" | "sequential";

/** Values of the options of a job. Names are fio's in camel case with the unit at the end. */
export interface JobOptions {
  // Kind of I/O
  readonly directions: readonly Direction[];
  readonly isRandom: boolean;
  /** `rw=randread:N`: I/Os before a new offset is drawn, 1 by default. */
  readonly ioPerOffset: number;
  /** `rw=read:4k`: bytes that a sequential job skips after each I/O; negative too. */
  readonly skipBytes: number;
  readonly rwSequencer: "sequential" | "identical";
  readonly rwmixRead: number;
  readonly percentageRandom: PerDirection<number>;
  readonly blockSize: PerDirection<SizeRange>;
  /** Empty for a direction without a split. */
  readonly blockSizeSplit: PerDirection<readonly Share[]>;
  readonly blockAlign: PerDirection<number>;
  readonly blockSizeUnaligned: boolean;
  readonly randomDistribution: PerDirection<Distribution>;
  readonly noRandomMap: boolean;
  readonly softRandomMap: boolean;
  readonly randomGenerator: "tausworthe" | "lfsr" | "tausworthe64";
  readonly randRepeat: boolean;
  readonly allRandRepeat: boolean;
  /** Seed that was given by `randseed`, or null. */
  readonly randSeed: number | null;
  // How much
  /** Null if none was given: then the files' own. */
  readonly size: Size | null;
  readonly ioSize: Size | null;
  /** Size of each file, drawn between min and max; null if none was given. */
  readonly fileSize: SizeRange | null;
  readonly offset: Size;
  readonly offsetAlign: number;
  readonly offsetIncrement: Size;
  /** 0 is no limit. */
  readonly numberIos: number;
  readonly loops: number;
  readonly runtimeUs: number;
  readonly timeBased: boolean;
  readonly rampTimeUs: number;
  /** A start delay that's drawn from a range has been drawn by the runner: min and max. */
  readonly startDelayUs: SizeRange;
  // Files
  readonly fileName: readonly string[];
  readonly fileNameFormat: string;
  readonly directory: readonly string[];
  readonly nrFiles: number;
  readonly fileServiceType: ServiceType;
  /** I/Os on one file before the next one's turn. */
  readonly fileServiceCount: number;
  readonly fileAppend: boolean;
  readonly createFiles: boolean;
  readonly createOnly: boolean;
  readonly overwrite: boolean;
  readonly fallocate: "none" | "native" | "posix" | "keep" | "truncate";
  readonly preRead: boolean;
  readonly invalidate: boolean;
  readonly unlink: boolean;
  readonly sync: "none" | "sync" | "dsync";
  /** Writes between two calls; 0 is never. */
  readonly fsync: number;
  readonly fdatasync: number;
  readonly endFsync: boolean;
  readonly fsyncOnClose: boolean;
  readonly readonly: boolean;
  // Engine
  /** Engine that the job asked for, by fio's name. */
  readonly ioEngine: string;
  /** Scheme that it's mapped to. */
  readonly scheme: "io_uring" | "aio" | "direct";
  readonly direct: boolean;
  readonly atomic: boolean;
  readonly uncached: boolean;
  readonly ioDepth: number;
  readonly ioDepthBatch: number;
  readonly ioDepthBatchCompleteMin: number;
  readonly ioDepthLow: number;
  readonly fixedBuffers: boolean;
  readonly hiPri: boolean;
  readonly sqThreadPoll: boolean;
  readonly pin: "lease" | "lifetime" | "per-io";
  readonly mmEvents: readonly MemoryEvent[];
  // Rate
  /** Bytes a second; 0 is no limit. */
  readonly rate: PerDirection<number>;
  readonly rateMin: PerDirection<number>;
  readonly rateIops: PerDirection<number>;
  readonly rateIopsMin: PerDirection<number>;
  readonly rateProcess: "linear" | "poisson";
  readonly rateCycleMs: number;
  readonly rateIgnoreThinktime: boolean;
  readonly thinktimeUs: number;
  readonly thinktimeSpinUs: number;
  readonly thinktimeBlocks: number;
  readonly maxLatencyNs: number;
  // Threads and groups
  readonly numJobs: number;
  readonly stonewall: boolean;
  readonly newGroup: boolean;
  readonly groupReporting: boolean;
  readonly exitAll: boolean;
  readonly exitAllOnError: boolean;
  /** Name of the job whose end this one waits for. */
  readonly waitFor: string | null;
  readonly continueOnError: "none" | "read" | "write" | "io" | "verify" | "all";
  readonly description: string | null;
  // Buffers and verification
  readonly zeroBuffers: boolean;
  readonly refillBuffers: boolean;
  readonly scrambleBuffers: boolean;
  readonly bufferPattern: Pattern | null;
  readonly bufferCompressPercentage: number;
  readonly bufferCompressChunk: number;
  readonly verify: Verification | null;
  readonly verifyPattern: Pattern | null;
  readonly verifyInterval: number;
  readonly verifyOffset: number;
  readonly verifyFatal: boolean;
  readonly doVerify: boolean;
  // Measurement
  readonly unifiedRwReporting: "none" | "mixed";
  /** Name before `_bw.N.log`, or null. A bare flag takes the job's name. */
  readonly writeBwLog: string | null;
  readonly writeLatLog: string | null;
  readonly writeIopsLog: string | null;
  readonly logAvgMs: number;
  readonly logMaxValue: boolean;
  readonly logOffset: boolean;
  readonly logUnixEpoch: boolean;
  readonly perJobLogs: boolean;
  readonly bwAvgTimeMs: number;
  readonly iopsAvgTimeMs: number;
  readonly percentileList: readonly number[];
  readonly clatPercentiles: boolean;
  readonly latPercentiles: boolean;
  readonly slatPercentiles: boolean;
  readonly significantFigures: number;
  readonly disableLat: boolean;
  readonly disableClat: boolean;
  readonly disableSlat: boolean;
  readonly disableBw: boolean;
  readonly gtodReduce: boolean;
  /** 1000 or 1024: what a `k` is in the job. */
  readonly kbBase: 1000 | 1024;
  /** 0 is automatic, 1 bytes, 8 bits. */
  readonly unitBase: 0 | 1 | 8;
}

/** An option as it was given, for the output (`global options`, `job options`) and for `--showcmd`. */
export interface GivenOption {
  readonly name: string;
  /** Empty for a bare flag. */
  readonly value: string;
}

/** Place of a job in its file; the line is 0 for a command line. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number;
}

/** One thread of a run: of a job with `numjobs=4` there are four. */
export interface Job extends JobOptions {
  readonly name: string;
  readonly place: SourcePlace;
  /** From 0, of all threads (fio's thread number less one); `$jobnum` in names of files. */
  readonly threadNumber: number;
  /** From 0, among the threads of the same `numjobs`. */
  readonly subjobNumber: number;
  /** Group of reporting, from 0: a `stonewall` or a `new_group` begins one. */
  readonly groupId: number;
  /** Seeds of the generators, one for each purpose, in fio's order. */
  readonly seeds: readonly number[];
  /** Paths, in order; of each file that the job uses. */
  readonly files: readonly string[];
  readonly given: readonly GivenOption[];
}

/** A parsed command line: jobs, and settings of the run. */
export interface Invocation {
  readonly jobs: readonly Job[];
  readonly global: readonly GivenOption[];
  /** Sections in their order, those called global too. */
  readonly sections: readonly { readonly name: string; readonly given: readonly GivenOption[] }[];
  /** Warnings that were found while parsing, whole sentences. */
  readonly warnings: readonly string[];
  readonly outputFormats: readonly ("normal" | "terse" | "json" | "json+")[];
  readonly terseVersion: 2 | 3 | 4 | 5;
  readonly output: string | null;
  readonly bandwidthLog: boolean;
  /** 0 is never. */
  readonly statusIntervalMs: number;
  readonly eta: "auto" | "always" | "never";
  readonly etaIntervalMs: number;
  readonly etaNewlineMs: number;
  readonly readonly: boolean;
  readonly allowMountedWrite: boolean;
  readonly parseOnly: boolean;
  readonly showCommand: boolean;
}

/** Part of a file that a job works on. */
export interface FileExtent {
  readonly path: string;
  /** Size that the file has to have, at least, before the run; larger than it is where it's laid out. */
  readonly realBytes: number;
  readonly offset: number;
  /** Bytes from `offset` that offsets are drawn from. */
  readonly bytes: number;
}

/** The next I/O of a job. Objects are reused: copy what has to last. */
export interface Access {
  direction: Direction;
  /** Index of the file in the job. */
  file: number;
  offset: number;
  bytes: number;
}
