// The ends of jobs: by Ctrl-C, by their runtime, by each other; and what their logs hold then.
import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { start } from "../bench/run.js";
import { byPinless, reportIn } from "./jobs-run.js";

/** A file that is there already, so that nothing is laid out. */
function jobIn(directory: string, ...more: readonly string[]): readonly string[] {
  const file = path.join(directory, "data");
  writeFileSync(file, Buffer.alloc(1 << 20, 1));
  return ["--name=x", "--rw=randread", "--bs=4k", `--filename=${file}`, "--output-format=json", ...more];
}

const ENDLESS = ["--time_based=1", "--runtime=600", "--status-interval=100ms"];

for (const [how, words] of Object.entries({
  "through the page cache": ["--ioengine=psync"],
  directly: ["--ioengine=io_uring", "--direct=1", "--iodepth=4"],
}))
  test(`Ctrl-C prints what there is, of a job that goes ${how}`, async (t) => {
    const { child, ended } = start(["bench", ...jobIn(scratchDirectory(t), ...ENDLESS, ...words)]);
    let output = "";
    // The job runs once a report of --status-interval has I/Os.
    while (!/"total_ios": [1-9]/.test(output)) output += String((await once(child.stdout!, "data"))[0]);
    child.kill("SIGINT");
    const { code, stdout, stderr } = await ended;
    assert.equal(code, 128, stderr);
    const last = reportIn({ code, stdout: stdout.slice(stdout.lastIndexOf('{\n  "fio version"')), stderr });
    assert.ok(last.jobs[0]!.read.total_ios > 0);
    assert.equal(last.jobs[0]!.read.io_bytes, 4096 * last.jobs[0]!.read.total_ios);
  });

test("the end of a job with exitall ends the others", (t) => {
  const directory = scratchDirectory(t);
  const words = [
    ...jobIn(directory, "--exitall"),
    "--name=endless",
    "--rw=randread",
    "--time_based=1",
    "--runtime=600",
  ];
  const ran = byPinless([...words, "--size=1m", "--directory=."], directory);
  assert.equal(ran.code, 0, ran.stderr);
  assert.deepEqual(
    reportIn(ran).jobs.map(({ jobname, error }) => [jobname, error]),
    [
      ["x", 0],
      ["endless", 0],
    ],
  );
});

test("a latency past max_latency fails the job", (t) => {
  const directory = scratchDirectory(t);
  const ran = byPinless([...jobIn(directory, "--max_latency=1")], directory);
  assert.equal(ran.code, 1);
  assert.match(ran.stderr, /exceeds max_latency \(1000 nsec\)\n.*x: err=110/s);
  assert.equal(reportIn(ran).jobs[0]!.error, 110);
});

test("logs have a line for each request, or for each window", (t) => {
  const directory = scratchDirectory(t);
  const logs = ["--write_lat_log=all", "--write_bw_log=all", "--write_iops_log=all"];
  const ran = byPinless([...jobIn(directory, ...logs)], directory);
  const ios = reportIn(ran).jobs[0]!.read.total_ios;
  for (const kind of ["lat", "clat", "bw", "iops"]) {
    const lines = readFileSync(path.join(directory, `all_${kind}.1.log`), "utf8")
      .trim()
      .split("\n");
    assert.equal(lines.length, ios, kind);
    for (const line of lines) assert.match(line, /^\d+, \d+, 0, 4096, 0$/);
  }
  byPinless([...jobIn(directory, "--write_lat_log=mean", "--log_avg_msec=60s")], directory);
  const mean = readFileSync(path.join(directory, "mean_lat.1.log"), "utf8");
  assert.match(mean, /^\d+, \d+, 0, 0, 0\n$/);
});

test("unlink=1 removes the file afterwards, and readonly writes nothing", (t) => {
  const directory = scratchDirectory(t);
  const words = ["--name=x", "--rw=write", "--size=64k", "--filename=made"];
  const made = path.join(directory, "made");
  assert.equal(byPinless([...words, "--readonly"], directory).code, 1);
  assert.equal(existsSync(made), false);
  assert.equal(byPinless(words, directory).code, 0);
  assert.equal(existsSync(made), true);
  assert.equal(byPinless([...words, "--unlink=1"], directory).code, 0);
  assert.equal(existsSync(made), false);
});
