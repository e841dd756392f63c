/** Options of how a job runs and what is measured: engine, depth, rates, threads, logs. */

import { type OptionRow, option, shorthand } from "./option-row.js";
import {
  BOOLEAN,
  BYTES,
  each,
  everyDirection,
  INVERTED,
  LOG_NAME,
  mapped,
  NUMBERS,
  oneOf,
  optional,
  TEXT,
  TIME_RANGE,
  time,
  whole,
} from "./option-types.js";
import { MEMORY_EVENTS } from "./special-types.js";

/** Engines of fio's, and the scheme that each is mapped to. */
export const ENGINES = {
  io_uring: "io_uring",
  libaio: "aio",
  sync: "direct",
  psync: "direct",
  vsync: "direct",
  pvsync: "direct",
  pvsync2: "direct",
  posixaio: "direct",
} as const;

const ENGINE_NAMES = Object.keys(ENGINES) as (keyof typeof ENGINES)[];
const DEPTH = whole(1, 32768);
const COUNT = whole(0);

const ENGINE: readonly OptionRow[] = [
  option("ioengine", "ioEngine", oneOf(...ENGINE_NAMES), "psync", "engine: io_uring, aio of libaio, direct of others"),
  option("direct", "direct", BOOLEAN, false, "around the page cache, by an engine of pinless; without it, node:fs"),
  shorthand("buffered", INVERTED, "the opposite of direct", ({ kbBase }, text) => ({
    direct: INVERTED.read(text, kbBase, false),
  })),
  option("atomic", "atomic", BOOLEAN, false, "writes that aren't torn; needs direct=1"),
  option(
    "uncached",
    "uncached",
    BOOLEAN,
    false,
    "what a direct job has to send through the page cache leaves nothing there; needs direct=1",
  ),
  option("iodepth", "ioDepth", DEPTH, 1, "I/Os in flight; one with the synchronous engines"),
  option("iodepth_batch iodepth_batch_submit", "ioDepthBatch", COUNT, 1, "I/Os handed over at once; 0 is iodepth"),
  option(
    "iodepth_batch_complete_min iodepth_batch_complete",
    "ioDepthBatchCompleteMin",
    COUNT,
    1,
    "completions that are waited for at least",
  ),
  option("iodepth_low", "ioDepthLow", COUNT, 0, "I/Os in flight at which the queue is filled again; 0 is iodepth"),
  option("fixedbufs", "fixedBuffers", BOOLEAN, false, "registered buffers: pin=lifetime unless pin says another"),
  option("hipri", "hiPri", BOOLEAN, false, "without effect: the engine doesn't poll devices"),
  option("sqthread_poll", "sqThreadPoll", BOOLEAN, false, "without effect: the engine has no such thread"),
  option("pin", "pin", oneOf("lease", "lifetime", "per-io"), "lease", "pinless: how buffers are pinned"),
  option("mm_events", "mmEvents", MEMORY_EVENTS, [], "pinless: memory operations on the buffers during the job"),
];

const DURATION: readonly OptionRow[] = [
  option("runtime timeout", "runtimeUs", time(1e6), 0, "end of the job, if it isn't done before; 0 is never"),
  option("time_based", "timeBased", BOOLEAN, false, "the job is repeated until runtime is over"),
  option("ramp_time", "rampTimeUs", time(1e6), 0, "time before measurement begins"),
  option("startdelay", "startDelayUs", TIME_RANGE, { min: 0, max: 0 }, "time before the job begins"),
];

const RATES: readonly OptionRow[] = [
  option("rate", "rate", each(BYTES), everyDirection(0), "bytes a second at most; 0 is no limit"),
  option("rate_min ratemin", "rateMin", each(BYTES), everyDirection(0), "bytes a second at least, or the job fails"),
  option("rate_iops", "rateIops", each(COUNT), everyDirection(0), "I/Os a second at most; 0 is no limit"),
  option("rate_iops_min", "rateIopsMin", each(COUNT), everyDirection(0), "I/Os a second at least, or the job fails"),
  option("rate_process", "rateProcess", oneOf("linear", "poisson"), "linear", "distribution of I/Os under a rate"),
  option("rate_cycle ratecycle", "rateCycleMs", time(1e3, 1e3), 1000, "time that the minimum is an average of"),
  option("rate_ignore_thinktime", "rateIgnoreThinktime", BOOLEAN, false, "a rate doesn't make up for thinktime"),
  option("thinktime", "thinktimeUs", time(1), 0, "pause between I/Os"),
  option("thinktime_spin", "thinktimeSpinUs", time(1), 0, "part of thinktime that's spent busy"),
  option("thinktime_blocks", "thinktimeBlocks", whole(1), 1, "I/Os between two pauses"),
  option("max_latency", "maxLatencyNs", time(1, 1e-3), 0, "latency past which the job fails; 0 is none"),
];

const GROUPS: readonly OptionRow[] = [
  option("name", "title", optional(TEXT), null, "name in the report; files are named by the section"),
  option("numjobs", "numJobs", whole(1, 4096), 1, "threads of the job"),
  option("stonewall wait_for_previous", "stonewall", BOOLEAN, false, "waits for the jobs before; a new group"),
  option("new_group", "newGroup", BOOLEAN, false, "a new group of the report"),
  option("group_reporting", "groupReporting", BOOLEAN, false, "one report for a group"),
  option("exitall", "exitAll", BOOLEAN, false, "the end of this job ends all"),
  option("exitall_on_error", "exitAllOnError", BOOLEAN, false, "a failure of this job ends all"),
  option("wait_for", "waitFor", optional(TEXT), null, "job that this one waits for"),
  option(
    "continue_on_error",
    "continueOnError",
    mapped(
      { none: "none", "0": "none", read: "read", write: "write", io: "io", verify: "verify", all: "all", "1": "all" },
      "1",
    ),
    "none",
    "failures that don't end the job",
  ),
  option("readonly", "readonly", BOOLEAN, false, "a job that would write is refused"),
  option("description", "description", optional(TEXT), null, "text of the report"),
];

const LOGS: readonly OptionRow[] = [
  option(
    "unified_rw_reporting",
    "unifiedRwReporting",
    mapped({ none: "none", "0": "none", mixed: "mixed", "1": "mixed" }),
    "none",
    "one figure for all directions; both, which prints each direction too, is refused",
  ),
  option("write_bw_log", "writeBwLog", LOG_NAME, null, "log of bandwidth; a bare one has the job's name"),
  option("write_lat_log", "writeLatLog", LOG_NAME, null, "log of latencies"),
  option("write_iops_log", "writeIopsLog", LOG_NAME, null, "log of IOPS"),
  option("log_avg_msec", "logAvgMs", time(1e3, 1e3), 0, "time that an entry is an average of; 0 is each I/O"),
  option("log_max_value", "logMaxValue", mapped({ "0": false, "1": true }, "1"), false, "entries are maxima"),
  option("log_offset", "logOffset", BOOLEAN, false, "entries have the offset"),
  option("log_unix_epoch", "logUnixEpoch", BOOLEAN, false, "entries have the time of day"),
  option("per_job_logs", "perJobLogs", BOOLEAN, true, "a file for each job"),
  option("bwavgtime", "bwAvgTimeMs", time(1e3, 1e3), 500, "time that a value of bandwidth is of"),
  option("iopsavgtime", "iopsAvgTimeMs", time(1e3, 1e3), 500, "time that a value of IOPS is of"),
  option(
    "percentile_list",
    "percentileList",
    NUMBERS,
    [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99],
    "percentiles of the report",
  ),
  option("clat_percentiles", "clatPercentiles", BOOLEAN, true, "percentiles of completion latencies"),
  option("lat_percentiles", "latPercentiles", BOOLEAN, false, "percentiles of whole latencies"),
  option("slat_percentiles", "slatPercentiles", BOOLEAN, false, "percentiles of submission latencies"),
  option("significant_figures", "significantFigures", whole(1, 10), 4, "digits of the normal report"),
  option("disable_lat", "disableLat", BOOLEAN, false, "no whole latencies"),
  option("disable_clat", "disableClat", BOOLEAN, false, "no completion latencies"),
  option("disable_slat", "disableSlat", BOOLEAN, false, "no submission latencies"),
  option("disable_bw_measurement disable_bw", "disableBw", BOOLEAN, false, "no values of bandwidth over time"),
  option("gtod_reduce", "gtodReduce", BOOLEAN, false, "all of these, for fewer looks at the clock"),
  option("unit_base", "unitBase", mapped({ "0": 0, "1": 1, "8": 8 } as const), 0, "bits (1) or bytes (8) of rates"),
];

export const RUN_OPTIONS = [...ENGINE, ...DURATION, ...RATES, ...GROUPS, ...LOGS];
