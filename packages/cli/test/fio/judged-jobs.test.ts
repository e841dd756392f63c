// Jobs of fio, run by fio and by pinless: the same numbers of bytes and I/Os, and the same keys in the JSON.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { bucketOf, middleOf } from "../../dist/fio/samples.js";
import { byPinless, countsOf, keysOf, reportIn } from "./jobs-run.js";
import { byFio, NO_FIO } from "./judge.js";

const JSON_OUTPUT = "--output-format=json";
const DIRECT = ["--ioengine=libaio", "--direct=1", "--size=2m", "--filename=data"];

const JOBS: Readonly<Record<string, readonly string[]>> = {
  "sequential reads": ["--name=x", "--rw=read", "--bs=64k", "--iodepth=4", ...DIRECT],
  "sequential writes": ["--name=x", "--rw=write", "--bs=16k", "--iodepth=8", ...DIRECT],
  "random reads": ["--name=x", "--rw=randread", "--bs=4k", "--iodepth=8", ...DIRECT],
  "random reads and writes": ["--name=x", "--rw=randrw", "--rwmixread=70", "--bs=4k", "--iodepth=4", ...DIRECT],
  "reads by a synchronous engine": ["--name=x", "--rw=read", "--bs=4k", "--size=1m", "--filename=data"],
  "writes with fsync": ["--name=x", "--rw=write", "--bs=4k", "--size=64k", "--fsync=4", "--end_fsync=1"],
  "number of I/Os": ["--name=x", "--rw=randread", "--bs=4k", "--number_ios=37", ...DIRECT],
  "less than the size": ["--name=x", "--rw=read", "--bs=4k", "--io_size=100k", ...DIRECT],
  "two passes": ["--name=x", "--rw=write", "--bs=32k", "--loops=2", ...DIRECT],
  "several threads in a group": [
    ...["--group_reporting", "--name=x", "--rw=randread", "--bs=4k", "--size=512k", "--numjobs=3"],
    ...["--ioengine=libaio", "--direct=1", "--iodepth=2"],
  ],
  "jobs behind a stonewall": [
    ...["--size=512k", "--filename=data", "--direct=1", "--ioengine=libaio"],
    ...["--name=first", "--rw=write", "--bs=8k", "--name=second", "--rw=read", "--bs=4k", "--stonewall"],
  ],
  "writes that are verified": ["--name=x", "--rw=randwrite", "--bs=4k", "--verify=crc32c", "--iodepth=4", ...DIRECT],
  "one figure for both": ["--name=x", "--rw=randrw", "--unified_rw_reporting=1", "--bs=4k", ...DIRECT],
  "all percentiles": [
    ...["--name=x", "--rw=randread", "--bs=4k", "--lat_percentiles=1", "--slat_percentiles=1"],
    ...["--percentile_list=50:90:99.9", "--description=text", ...DIRECT],
  ],
};

for (const [name, words] of Object.entries(JOBS))
  test(`${name}: as many bytes and I/Os as fio's, and the same keys`, { skip: NO_FIO }, (t) => {
    const [theirs, ours] = [byFio, byPinless].map((run) => run([...words, JSON_OUTPUT], scratchDirectory(t)));
    assert.equal(ours!.code, theirs!.code, ours!.stderr);
    const [expected, found] = [reportIn(theirs!), reportIn(ours!)];
    if (!words.includes("--unified_rw_reporting=1")) assert.deepEqual(countsOf(found), countsOf(expected));
    assert.deepEqual(keysOf(found), keysOf(expected));
  });

test("json+ has fio's bins, and terse lines have as many fields", { skip: NO_FIO }, (t) => {
  const words = ["--name=x", "--rw=randread", "--bs=4k", ...DIRECT];
  const bins = reportIn(byPinless([...words, "--output-format=json+"], scratchDirectory(t))) as unknown as {
    jobs: { read: { total_ios: number; clat_ns: { bins: Record<string, number> } } }[];
  };
  const [{ read }] = bins.jobs as [(typeof bins.jobs)[number]];
  const counted = Object.values(read.clat_ns.bins).reduce((sum, count) => sum + count, 0);
  assert.equal(counted, read.total_ios);
  for (const version of ["3", "5"]) {
    const terse = [...words, "--minimal", `--terse-version=${version}`];
    const [theirs, ours] = [byFio, byPinless].map((run) => run(terse, scratchDirectory(t)).stdout.trim());
    assert.equal(ours!.split(";").length, theirs!.split(";").length, ours);
    assert.equal(ours!.split(";")[0], version);
  }
});

test("fio's bins are those that the histogram here has", { skip: NO_FIO }, (t) => {
  const words = ["--name=x", "--rw=randread", "--bs=4k", "--output-format=json+", ...DIRECT];
  const { jobs } = reportIn(byFio(words, scratchDirectory(t))) as unknown as {
    jobs: { read: { clat_ns: { bins: Record<string, number> } } }[];
  };
  const bins = Object.keys(jobs[0]!.read.clat_ns.bins).map(Number);
  assert.ok(bins.length > 0);
  for (const bin of bins) assert.equal(middleOf(bucketOf(bin)), bin);
});

test("the normal output has fio's lines, and the same sizes in them", { skip: NO_FIO }, (t) => {
  for (const kib of [1, 1023, 1537, 10_003]) {
    const words = ["--name=x", "--rw=write", "--bs=1k", `--size=${kib}k`];
    const [theirs, ours] = [byFio, byPinless].map((run) => run(words, scratchDirectory(t)).stdout);
    const sizeIn = (output: string): string | undefined => /^ {2}WRITE: .* io=([^,]+),/m.exec(output)?.[1];
    assert.notEqual(sizeIn(theirs!), undefined);
    assert.equal(sizeIn(ours!), sizeIn(theirs!), `${kib} KiB`);
    assert.deepEqual(labelsIn(ours!), labelsIn(theirs!));
  }
});

/** Beginnings of lines, up to the first figure, each once. Lines of latencies and disks depend on the machine. */
function labelsIn(output: string): readonly string[] {
  const labels = output.split("\n").map((line) => line.split(/[:=\d(]/)[0]!.trim());
  return [
    ...new Set(labels.filter((label) => !/^(lat|Disk stats|pinless||\|.*|fio-|bw|iops|[a-z]+|Starting)$/.test(label))),
  ];
}

test("what can't be run fails as in fio, and nothing is written", { skip: NO_FIO }, (t) => {
  const directory = scratchDirectory(t);
  writeFileSync(path.join(directory, "small"), "x".repeat(100));
  for (const words of [
    ["missing.fio"],
    ["--name=x", "--rw=read", "--size=1m", "--directory=nowhere"],
    ["--name=x", "--rw=nonsense", "--size=1m"],
    ["--name=x", "--rw=read"],
  ]) {
    const [theirs, ours] = [byFio, byPinless].map((run) => run(words, directory));
    assert.equal(ours!.code, theirs!.code, `${words.join(" ")}: ${ours!.stderr}`);
    assert.match(ours!.stderr, /^pinless bench: [^\n]+\n$/);
  }
});
