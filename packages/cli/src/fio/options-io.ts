/** Options of what a job reads and writes: kind, sizes, order, files, contents. */

import { type OptionRow, option, shorthand } from "./option-row.js";
import {
  BOOLEAN,
  BYTES,
  each,
  everyDirection,
  mapped,
  oneOf,
  optional,
  PATHS,
  PERCENTAGE,
  RANGE,
  size,
  TEXT,
  whole,
} from "./option-types.js";
import { BLOCK_SPLIT, DISTRIBUTION, PATTERN, SERVICE, WORKLOAD } from "./special-types.js";

const NOTHING = { bytes: 0, percent: null };

const KIND: readonly OptionRow[] = [
  option("rw readwrite", "rw", WORKLOAD, WORKLOAD.read("read", 1024, undefined as never), "kind of I/O", "read"),
  option("rw_sequencer", "rwSequencer", oneOf("sequential", "identical"), "sequential", "offsets between two draws"),
  option("rwmixread", "rwmixRead", PERCENTAGE, 50, "share of reads in a mixed job"),
  shorthand("rwmixwrite", PERCENTAGE, "share of writes in a mixed job", ({ kbBase }, text) => ({
    rwmixRead: 100 - PERCENTAGE.read(text, kbBase, 0),
  })),
  option("bs blocksize", "bs", each(whole(1, 2 ** 31)), everyDirection(4096), "bytes of an I/O"),
  option(
    "bsrange blocksize_range",
    "bsRange",
    each(optional(RANGE)),
    everyDirection(null),
    "range of the bytes of an I/O",
  ),
  option("bssplit", "blockSizeSplit", BLOCK_SPLIT, everyDirection([]), "sizes of I/Os with their shares", ""),
  option("ba blockalign", "blockAlign", each(BYTES), everyDirection(0), "alignment of random offsets; 0 is bs"),
  option("bs_unaligned blocksize_unaligned", "blockSizeUnaligned", BOOLEAN, false, "sizes in any number of bytes"),
  option("percentage_random", "percentageRandom", each(PERCENTAGE), everyDirection(100), "share of random offsets"),
  option(
    "random_distribution",
    "randomDistribution",
    DISTRIBUTION,
    everyDirection({ kind: "random" }),
    "distribution of random offsets",
    "random",
  ),
  option("norandommap", "noRandomMap", BOOLEAN, false, "offsets may come again"),
  option("softrandommap", "softRandomMap", BOOLEAN, false, "goes on without a map if there's no memory for one"),
  option(
    "random_generator",
    "randomGenerator",
    oneOf("tausworthe", "lfsr", "tausworthe64"),
    "tausworthe",
    "generator of offsets; tausworthe64 draws twice from tausworthe, so it has another order than fio's",
  ),
  option("randrepeat", "randRepeat", BOOLEAN, true, "the same order in every run"),
  option("allrandrepeat", "allRandRepeat", BOOLEAN, false, "every generator is the same in every run"),
  option("randseed", "randSeed", optional(whole(0, Number.MAX_SAFE_INTEGER)), null, "seed of the order"),
];

const SIZES: readonly OptionRow[] = [
  option("size", "size", optional(size(100)), null, "bytes of all the job's files; % is of their sizes"),
  option("io_size io_limit", "ioSize", optional(size(100)), null, "bytes to do, size by default"),
  option("filesize", "fileSize", optional(RANGE), null, "bytes of each file"),
  option("offset fileoffset", "offset", size(100), NOTHING, "first byte of a file that's used", "0"),
  option("offset_align", "offsetAlign", BYTES, 0, "alignment of an offset in %; 0 is bs"),
  option("offset_increment", "offsetIncrement", size(100), NOTHING, "added for every job of numjobs", "0"),
  option("number_ios", "numberIos", BYTES, 0, "I/Os to do; 0 is no limit"),
  option("loops", "loops", whole(1), 1, "runs of the job"),
  option("kb_base", "kbBase", mapped({ "1000": 1000, "1024": 1024 } as const), 1024, "bytes of a k"),
];

const FILES: readonly OptionRow[] = [
  option("filename", "fileName", PATHS, [], "files"),
  option("filename_format", "fileNameFormat", TEXT, "$jobname.$jobnum.$filenum", "names of files without filename"),
  option("directory", "directory", PATHS, [], "directory of files; jobs take turns among several"),
  option("nrfiles nr_files", "nrFiles", whole(1), 1, "number of files"),
  shorthand(
    "file_service_type",
    SERVICE,
    "order in which files are used, and I/Os on each; roundrobin",
    ({ kbBase }, text) => {
      const { kind, count } = SERVICE.read(text, kbBase, { kind: "roundrobin", count: 1 });
      return { fileServiceType: kind, fileServiceCount: count };
    },
    { fileServiceType: "roundrobin", fileServiceCount: 1 },
  ),
  option("file_append", "fileAppend", BOOLEAN, false, "I/O begins at the end of the file"),
  option("allow_file_create", "createFiles", BOOLEAN, true, "files that aren't there are made"),
  option("create_only", "createOnly", BOOLEAN, false, "only lays the files out"),
  option("overwrite", "overwrite", BOOLEAN, false, "a file is laid out before it's written"),
  option(
    "fallocate",
    "fallocate",
    mapped({
      none: "none",
      "0": "none",
      native: "native",
      posix: "posix",
      "1": "posix",
      keep: "keep",
      truncate: "truncate",
    }),
    "native",
    "how room for a new file is allocated",
  ),
  option("pre_read", "preRead", BOOLEAN, false, "files are read into the page cache before"),
  option("invalidate", "invalidate", BOOLEAN, true, "the page cache of files is dropped before"),
  option("unlink", "unlink", BOOLEAN, false, "files are deleted after the job"),
  option(
    "sync",
    "sync",
    mapped({ none: "none", "0": "none", sync: "sync", "1": "sync", dsync: "dsync" }, "1"),
    "none",
    "O_SYNC or O_DSYNC",
  ),
  option("fsync", "fsync", whole(0), 0, "fsync after this many writes; 0 is never"),
  option("fdatasync", "fdatasync", whole(0), 0, "fdatasync after this many writes; 0 is never"),
  option("end_fsync", "endFsync", BOOLEAN, false, "fsync at the end of the job"),
  option("fsync_on_close", "fsyncOnClose", BOOLEAN, false, "fsync when a file is closed"),
];

const CONTENTS: readonly OptionRow[] = [
  option("zero_buffers", "zeroBuffers", BOOLEAN, false, "buffers are zeros"),
  option("refill_buffers", "refillBuffers", BOOLEAN, false, "buffers are filled for every write"),
  option("scramble_buffers", "scrambleBuffers", BOOLEAN, true, "buffers are changed a little for every write"),
  option("buffer_pattern", "bufferPattern", PATTERN, null, "contents of buffers"),
  option("buffer_compress_percentage", "bufferCompressPercentage", PERCENTAGE, 0, "part of buffers that compresses"),
  option("buffer_compress_chunk", "bufferCompressChunk", BYTES, 512, "bytes in which that part is spread"),
  option(
    "verify",
    "verify",
    mapped({
      "0": null,
      crc32c: "crc32c",
      "crc32c-intel": "crc32c",
      md5: "md5",
      sha1: "sha1",
      sha256: "sha256",
      xxhash: "xxhash",
      meta: "meta",
      pattern: "pattern",
      pattern_hdr: "pattern_hdr",
    }),
    null,
    "what written blocks are checked by",
  ),
  option("verify_pattern", "verifyPattern", PATTERN, null, "contents of verified blocks"),
  option("verify_interval", "verifyInterval", BYTES, 0, "bytes of a verified block; 0 is bs"),
  option("verify_offset", "verifyOffset", BYTES, 0, "place of the header in a block"),
  option("verify_fatal", "verifyFatal", BOOLEAN, false, "ends the job at the first miss"),
  option("do_verify", "doVerify", BOOLEAN, true, "checks after a job that writes"),
];

export const IO_OPTIONS = [...KIND, ...SIZES, ...FILES, ...CONTENTS];
