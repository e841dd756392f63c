// Runs the compiled tests: node scripts/test.mjs [--all] [part of a file name…] [!part of those left out…]
// [--option=for-node…] First says on what machine and what is left out, at the end which tests were skipped and why.
// With PINLESS_REQUIRE_ALL=1 a test may be skipped only for what the machine lacks (its reason begins with "machine:");
// any other skip fails the run.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

/**
 * Parts of file names, and why `npm test` leaves these files to `npm run test:all`. Everything else it runs: the
 * protocol, the model, every scheme on the real kernel, files and commands, in a little over three minutes.
 */
const ONLY_IN_ALL = {
  "pinless/dist-test/hazards/":
    "harms that happen without pinless: native threads, compaction, disks and guests; most need root",
  "conformance/io-uring-baselines": "the two pin modes that leases are compared with",
  "conformance/memory-by-others": "the engine's code above the schemes, by those that take no leases",
  "conformance/pairs": "each call beside every other",
  "conformance/sequences": "each memory operation after every other",
  "conformance/standing-still": "filesystems that take their time",
  "engine/as-node-calls": "four thousand calls with every kind of value in the place of every argument",
  "trace/engine-trace": "processes that are traced and end: by exit, by a signal, with a full disk",
  "engine/shared-arenas": "threads that start, load and end, for each scheme",
  "cli/dist-test/bench/": "whole comparisons of all schemes, which measure for minutes",
  "cli/dist-test/fio/": "jobs by fio and by pinless, hundreds of runs",
  "commands/huge-files": "copies and checksums of files of 1 GiB, and of 1 TiB with holes",
  "commands/sum-lists": "each mistake that a list of checksums can have, beside sha256sum",
  "commands/printable": "output of every command, comparisons included",
  "control/hostile": "processes that answer whoever asks with anything",
  "lab/dist-test/commands/": "the commands of the lab, which explore",
  "lab/dist-test/check/mutants": "every mutant of the protocol",
  "lab/dist-test/page/": "the lab's page in a real browser",
  "lab/dist-test/traces/shipped": "failures that the page shows, replayed",
  "lab/dist-test/model/conformance-others": "the model by other schemes and pin modes, pairs and sequences",
  "simulate/mapped-file": "long runs with writeback",
  "what-if/what-if-calibrate": "a machine's costs, fitted to measurements",
  "simulate/mistakes": "engines with a mistake, which are to be found out",
  "examples/": "programs that move gigabytes, some in a memory cgroup",
  "structure/": "what the sources, the pages and the packed packages have to look like",
};

/** They change settings of the whole machine: nothing else runs meanwhile. */
const ALONE = /(bench\/adverse|commands\/doctor-refusals|conformance\/auto|engine\/refusals)\./;
/**
 * They count leases, or what the machine does with memory. An ordinary user's processes share one limit on locked
 * memory, so these run one after the other, beside those that lock none.
 */
const COUNT_LEASES = anyOf(
  "(bench|events|hazards)/",
  "commands/doctor",
  "control/(release|runtime|top)",
  "conformance/(io-uring|memory-by-others|pairs|sequences|no-threads)",
  "engine/(give-back|life-cycle|limits|memory|pins)",
  "trace/engine-trace",
);
const LOCK_NOTHING = anyOf(
  "^packages/lab/",
  "^packages/cli/dist-test/commands/input-file",
  "^packages/pinless/dist-test/(abi|linux|memory|protocol|reproducers|types)/",
  "^packages/pinless/dist-test/conformance/(aio|direct)",
  "^packages/pinless/dist-test/hazards/(huge-pages|numa)",
);

function anyOf(...patterns) {
  return new RegExp(patterns.join("|"));
}

const root = path.dirname(import.meta.dirname);
const scratch = os.tmpdir();

function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** The type of the filesystem that a path is on. */
function filesystem(of) {
  let best = { at: "", type: "?" };
  for (const line of read("/proc/self/mountinfo").split("\n")) {
    // ID parent major:minor root mountpoint options optional… - type source options
    const [before = "", after = ""] = line.split(" - ");
    const at = before.split(" ")[4] ?? "";
    const inside = at === "/" || of === at || of.startsWith(`${at}/`);
    // A later line of the same length is mounted over the earlier one.
    if (at !== "" && inside && at.length >= best.at.length) best = { at, type: after.split(" ")[0] };
  }
  return `${best.type} (mounted on ${best.at})`;
}

const memlock = /^Max locked memory +(\S+) +(\S+)/m.exec(read("/proc/self/limits"));
console.log(`node                ${process.version} ${process.arch}, ${os.availableParallelism()} cores`);
console.log(`kernel              ${os.release()}`);
console.log(`scratch             ${scratch}: ${filesystem(scratch)}`);
console.log(`uid                 ${process.getuid()}`);
console.log(`memlock             ${memlock ? `${memlock[1]} (hard ${memlock[2]})` : "?"}`);
console.log(`io_uring_disabled   ${read("/proc/sys/kernel/io_uring_disabled").trim() || "no such setting"}`);

const args = process.argv.slice(2);
const all = args.includes("--all");
// Tests that repeat themselves do so more often where everything is tested (support/rounds.ts).
if (all) process.env.PINLESS_TEST_ALL = "1";
const without = args.filter((arg) => arg.startsWith("!")).map((arg) => arg.slice(1));
const filters = args.filter((arg) => !/^[-!]/.test(arg));
const options = args.filter((arg) => arg.startsWith("-") && arg !== "--all");
if (without.length > 0) console.log(`left out            ${without.join(" ")}`);
if (!all && filters.length === 0) {
  console.log("\nleft to npm run test:all");
  for (const [part, why] of Object.entries(ONLY_IN_ALL)) console.log(`  ${part.padEnd(40)} ${why}`);
  without.push(...Object.keys(ONLY_IN_ALL));
}
console.log();

// Node 20 takes no globs, so the files are listed here.
const programs = readdirSync(path.join(root, "examples")).map((name) => path.join("examples", name, "dist", "test"));
let files = ["pinless", "cli", "lab"]
  .map((name) => path.join("packages", name, "dist-test"))
  .concat(programs.filter((folder) => existsSync(path.join(root, folder))))
  .flatMap((folder) => readdirSync(path.join(root, folder), { recursive: true }).map((file) => path.join(folder, file)))
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .filter((file) => !without.some((filter) => file.includes(filter)))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${filters.join(" ")}`);
  process.exit(1);
}

const temporary = mkdtempSync(path.join(scratch, "pinless-skips-"));
const reporter = "./scripts/skips-reporter.mjs";

/** Runs files by node's test runner, `atOnce` of them at a time. */
async function run(of, atOnce, stdout) {
  const list = path.join(temporary, `skipped-${runs++}`);
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout", `--test-reporter=${reporter}`];
  const args = ["--enable-source-maps", "--test", `--test-concurrency=${atOnce}`, ...reporters];
  const child = spawn(process.execPath, [...args, `--test-reporter-destination=${list}`, ...options, ...of], {
    cwd: root,
    stdio: ["inherit", stdout, "inherit"],
  });
  // A run that a signal ended has no status.
  const [code] = await once(child, "exit");
  status ||= code ?? 1;
  for (const line of read(list).split("\n")) if (line !== "") skipped.push(JSON.parse(line));
}

/** Runs both kinds at the same time; what the second says is shown afterwards. */
async function runBeside(first, second) {
  const said = path.join(temporary, "said");
  const output = openSync(said, "w");
  try {
    await Promise.all([
      first.length === 0 ? null : run(first, 1, "inherit"),
      second.length === 0 ? null : run(second, 1, first.length === 0 ? "inherit" : output),
    ]);
    process.stdout.write(read(said));
  } finally {
    closeSync(output);
  }
}

/** Takes out of `files` those that match. */
function take(pattern) {
  const taken = files.filter((file) => pattern.test(file));
  files = files.filter((file) => !pattern.test(file));
  return taken;
}

let runs = 0;
let status = 0;
const skipped = [];
try {
  const alone = take(ALONE);
  if (alone.length > 0) await run(alone, 1, "inherit");
  const beside = take(LOCK_NOTHING);
  await runBeside(take(COUNT_LEASES), beside);
  if (files.length > 0) await run(files, Math.min(4, os.availableParallelism()), "inherit");
} finally {
  rmSync(temporary, { recursive: true, force: true });
}

if (skipped.length > 0) {
  console.log(`\nskipped: ${skipped.length}`);
  for (const { file, name, reason } of skipped) {
    console.log(`  ${path.relative(root, file ?? "")}: ${name}: ${reason || "(no reason given)"}`);
  }
}
const refused = skipped.filter(({ reason }) => !reason.startsWith("machine:"));
if (process.env.PINLESS_REQUIRE_ALL === "1" && refused.length > 0) {
  console.log(`\nfailed: ${refused.length} skipped for a reason that isn't "machine: …" (PINLESS_REQUIRE_ALL=1)`);
  status ||= 1;
}
process.exitCode = status;
