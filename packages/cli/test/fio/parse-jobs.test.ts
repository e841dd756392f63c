// Job files and command lines: what is understood of them, and what is said of mistakes.
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { runCommand } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { commandLineOf, parseInvocation } from "../../dist/fio/parse.js";
import { byFio, NO_FIO } from "./judge.js";

function fileWith(t: TestContext, text: string | Uint8Array): string {
  const file = path.join(scratchDirectory(t), "job.fio");
  writeFileSync(file, text);
  return file;
}

/** Command lines, and the same as one line of fio's (`--showcmd`). */
const LINES: readonly (readonly string[])[] = [
  ["--name=a", "--rw=randread", "--bs=4k"],
  ["--bs=8k", "--name=a", "--rw=read", "--name=b", "--rw=write", "--size=1m"],
  ["--name=global", "--bs=2k", "--name=a", "--name=global", "--bs=8k", "--name=b", "--bs=3k"],
  ["--name=a", "--readwrite=read", "--blocksize=4k", "--ioengine=psync", "--thread", "--norandommap"],
];

const FILES: Readonly<Record<string, string>> = {
  sections: "[global]\nbs=4k\n[one]\nrw=read\n[two]\nrw=write\n",
  comments: "; first\n# second\n[one] ; three\nrw=read # four\nsize=1m;five\n\n   bs =4k  \n",
  flags: "[one]\nthread\nnorandommap\nstonewall\nrw=randread\nsize=64k\ntime_based\nruntime=1\n",
  description: "[one]\ndescription=a job of one\nrw=read\nsize=4k\n",
};

test("fio shows the same command line of a job file", { skip: NO_FIO }, (t) => {
  for (const [name, text] of Object.entries(FILES)) {
    const file = fileWith(t, text);
    const { stdout } = byFio(["--showcmd", file], scratchDirectory(t));
    const ours = commandLineOf(parseInvocation([file]));
    assert.equal(ours.replace("pinless bench", "fio"), stdout.trim().replaceAll(/ +/g, " "), name);
  }
});

test("a command line is shown as it was given, by the names that fio gives options", () => {
  const shown = LINES.map((words) => commandLineOf(parseInvocation(words)));
  assert.deepEqual(shown, [
    "pinless bench --name=a --rw=randread --bs=4k",
    "pinless bench --bs=8k --name=a --rw=read --name=b --rw=write --size=1m",
    "pinless bench --bs=2k --name=a --name=global --bs=8k --name=b --bs=3k",
    "pinless bench --name=a --rw=read --bs=4k --ioengine=psync --thread --norandommap",
  ]);
});

test("global options hold for the jobs after them, in files and on the command line", (t) => {
  const file = fileWith(
    t,
    "[global]\nbs=4k\n[a]\nrw=read\n[global]\nbs=8k\niodepth=4\nioengine=libaio\n[b]\nrw=write\n",
  );
  const { jobs } = parseInvocation(["--size=1m", file]);
  assert.deepEqual(
    jobs.map(({ name, blockSize, size, scheme, ioDepth }) => [name, blockSize.read.max, size?.bytes, scheme, ioDepth]),
    [
      ["a", 4096, 2 ** 20, "direct", 1],
      ["b", 8192, 2 ** 20, "aio", 4],
    ],
  );
});

test("threads of numjobs, groups, stonewalls between files, and names of files", (t) => {
  const first = fileWith(t, "[a]\nnumjobs=3\nnrfiles=2\n[b]\nstonewall\nfilename=x:y\\:z\n[global]\ndirectory=d:e\n");
  const second = fileWith(t, "[c]\nnumjobs=2\nfilename_format=$jobname-$jobnum-$filenum\n");
  const { jobs } = parseInvocation(["--rw=read", "--size=1m", first, second]);
  assert.deepEqual(
    jobs.map(({ name, threadNumber, subjobNumber, groupId, stonewall, files }) => [
      ...[name, threadNumber, subjobNumber, groupId, stonewall],
      ...files,
    ]),
    [
      ["a", 0, 0, 0, false, "a.0.0", "a.0.1"],
      ["a", 1, 2, 0, false, "a.2.0", "a.2.1"],
      ["a", 2, 1, 0, false, "a.1.0", "a.1.1"],
      ["b", 3, 0, 1, true, "x", "y:z"],
      ["c", 4, 0, 2, true, "d/c-0-0"],
      ["c", 5, 1, 2, false, "e/c-1-0"],
    ],
  );
});

test("a name among a job's options is of the report, and its files are named by the section", (t) => {
  const file = fileWith(t, "[global]\nname=all\nrw=read\nsize=1m\n[a]\n[b]\nname=other\n");
  const { jobs } = parseInvocation([file]);
  assert.deepEqual(
    jobs.map(({ name, files }) => [name, files[0]]),
    [
      ["a", "a.0.0"],
      ["other", "b.0.0"],
    ],
  );
});

test("sizes, times, percentages and arithmetic", () => {
  const words = [
    "--rw=read",
    "--size=(4k*100+1m/2)",
    "--runtime=2m",
    "--thinktime=3ms",
    "--offset=25%",
    "--rate=1m,2m",
  ];
  const [job] = parseInvocation(["--name=a", ...words]).jobs;
  assert.deepEqual(job!.size, { bytes: 409600 + 2 ** 19, percent: null });
  assert.deepEqual([job!.runtimeUs, job!.thinktimeUs, job!.offset.percent], [120e6, 3000, 25]);
  assert.deepEqual(job!.rate, { read: 2 ** 20, write: 2 ** 21, trim: 2 ** 21 });
  const sizeOf = (size: string, base = "1024") =>
    parseInvocation(["--name=a", `--kb_base=${base}`, `--size=${size}`]).jobs[0]!.size!.bytes;
  assert.deepEqual(
    ["64k", "64ki", "64kib", "64KB", "0x10000", "(2^16)", "(-4k*-16)"].map((size) => sizeOf(size)),
    [65536, 65536, 64000, 65536, 65536, 65536, 65536],
  );
  assert.deepEqual([sizeOf("64k", "1000"), sizeOf("64kib", "1000")], [64000, 65536]);
});

test("variables of the environment and of the machine", (t) => {
  process.env.PINLESS_TEST_SIZE = "2m";
  t.after(() => delete process.env.PINLESS_TEST_SIZE);
  const file = fileWith(t, `[a]\nsize=\${PINLESS_TEST_SIZE}\nbs=2*$pagesize\nnumjobs=$ncpus\n`);
  const { jobs } = parseInvocation([file]);
  assert.equal(jobs[0]!.size?.bytes, 2 ** 21);
  assert.equal(jobs[0]!.blockSize.read.min, 8192);
  assert.equal(jobs.length, jobs[0]!.numJobs);
});

test("files that are included, from where the file that includes them is", (t) => {
  const directory = scratchDirectory(t);
  mkdirSync(path.join(directory, "parts"));
  writeFileSync(path.join(directory, "parts/all"), "bs=16k\ninclude deeper\n");
  writeFileSync(path.join(directory, "parts/deeper"), "iodepth=2\nioengine=io_uring\n");
  writeFileSync(path.join(directory, "job"), "[a]\nrw=read\ninclude parts/all\nsize=1m\n");
  const [job] = parseInvocation([path.join(directory, "job")]).jobs;
  assert.deepEqual(
    [job!.blockSize.read.max, job!.ioDepth, job!.scheme, job!.size?.bytes],
    [16384, 2, "io_uring", 2 ** 20],
  );
});

const MISTAKES: readonly (readonly [text: string, message: RegExp])[] = [
  ["[a]\nrw=read\nblocksizes=4k\n", /job\.fio:3: blocksizes isn't an option of a job: did you mean blocksize/],
  ["[a]\nrw=read\nbs=4x\n", /job\.fio:3: bs=4x: a size such as 4096, 4k or 1g is needed, not "4x"/],
  ["[a]\nrw=trim\n", /job\.fio:2: rw=trim: "trim" can't be run: discards of devices aren't supported/],
  ["[a]\niodepth\n", /job\.fio:2: iodepth needs a value/],
  ["[a]\niodepth=0\n", /job\.fio:2: iodepth=0: a number from 1 to 32768 is needed/],
  ["rw=read\n", /job\.fio:1: "rw=read" comes before the first \[section\]/],
  ["", /has no \[section\]/],
  ["[a]\n\nioscheduler=noop\n", /job\.fio:3: ioscheduler=noop: this isn't supported: schedulers/],
  ["[a]\nioengine=rbd\n", /job\.fio:2: ioengine=rbd: one of io_uring, libaio/],
  ["[a]\nunified_rw_reporting=both\n", /job\.fio:2: unified_rw_reporting=both: one of 0, 1, none, mixed is needed/],
  [`[a]\nsize=\${PINLESS_NO_SUCH}\n`, /job\.fio:2: the environment has no variable PINLESS_NO_SUCH/],
  ["[a]\nsize=(4k*\n", /job\.fio:2: size=\(4k\*: the expression "\(4k\*" isn't arithmetic/],
  ["[a]\nsize=(4k/0)\n", /divides by zero/],
  ["[a]\nsize=512\nbs=4k\n", /job\.fio:1: size=512 is less than an I\/O of 4096 bytes/],
  ["[a]\nrate=1m\nrate_iops=5\n", /job\.fio:1: rate and rate_iops exclude each other/],
  ["[a]\nwait_for=b\n", /job\.fio:1: wait_for=b: there are 0 jobs of this name/],
  ["[a]\nbssplit=4k/60:8k/50\n", /add up to 110, more than 100/],
  ["[a]\nrandom_distribution=zipf:1\n", /theta of zipf/],
  ["[a]\nrandom_distribution=zoned:50/5\n", /one of random, zipf, pareto, normal is needed, not "zoned"/],
  ["[a]\nverify=pattern\n", /job\.fio:1: verify=pattern needs verify_pattern/],
  ["[a]\nverify_pattern=zz\n", /the pattern can't be understood from "zz" on/],
  ["[a]\n?=1\n", /job\.fio:2: "\?=1" isn't an option/],
  ["[a]\ninclude none\n", /job\.fio:2: none can't be read: there's no such file/],
];

test("a mistake is told of with its file and line", (t) => {
  for (const [text, message] of MISTAKES) {
    const file = fileWith(t, text);
    assert.throws(() => parseInvocation([file]), { name: "JobError", message }, text);
  }
});

test("a file that includes itself, sections in an included file, and junk", (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string) => path.join(directory, name);
  writeFileSync(at("job"), "[a]\nbs=4k\ninclude other\n");
  writeFileSync(at("other"), "size=1m\ninclude link\n");
  symlinkSync("other", at("link"));
  assert.throws(() => parseInvocation([at("job")]), { name: "JobError", message: /other:2: link includes itself/ });
  writeFileSync(at("other"), "[b]\n");
  assert.throws(() => parseInvocation([at("job")]), /other:1: an included file has no sections/);
  const junk: readonly (readonly [Uint8Array, RegExp])[] = [
    [new Uint8Array(10 << 20), /job\.fio is too large/],
    [Uint8Array.of(0xff, 0xfe, 0), /job\.fio isn't text in UTF-8/],
    [Buffer.from("x".repeat(1 << 19)), /job\.fio:1: "x{60}…" comes before/],
  ];
  for (const [bytes, message] of junk)
    assert.throws(() => parseInvocation([fileWith(t, bytes)]), { name: "JobError", message });
});

test("unknown options are warnings with --ignore-unknown, and --readonly refuses writes", () => {
  const words = ["--name=a", "--nonsense=1", "--rw=write", "--size=1m"];
  assert.throws(() => parseInvocation(words), /^JobError: command line: nonsense isn't an option of a job/);
  const { warnings, jobs } = parseInvocation(["--ignore-unknown", ...words]);
  assert.equal(warnings.length, 1);
  assert.equal(jobs.length, 1);
  assert.throws(() => parseInvocation(["--ignore-unknown", "--readonly", ...words]), /--readonly forbids it/);
  assert.throws(() => parseInvocation(["--rw=read"]), /no jobs are given/);
});

test("--section takes only the sections that it names", (t) => {
  const file = fileWith(t, "[global]\nsize=1m\n[a]\n[b]\n[c]\n");
  const { jobs } = parseInvocation(["--section=c", "--section", "a", file]);
  assert.deepEqual(
    jobs.map(({ name }) => name),
    ["a", "c"],
  );
});

test("--showcmd and --parse-only say what is understood, and mistakes end with exit code 1", async (t) => {
  const file = fileWith(t, "[a]\nrw=randread\nsize=1m\n");
  const shown = await runCommand(["bench", "--showcmd", file]);
  assert.equal(shown.stdout, "pinless bench --name=a --rw=randread --size=1m\n");
  const bad = await runCommand(["bench", "--parse-only", "--name=a", "--rw=nonsense"]);
  assert.match(bad.stderr, /^pinless bench: command line: rw=nonsense: /);
  assert.equal(bad.code, 1);
});
