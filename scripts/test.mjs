// Runs the compiled tests: node scripts/test.mjs [part of a file name…] [!part of those left out…] [--option=for-node…]
// First says on what machine, at the end which tests were skipped and why. With PINLESS_REQUIRE_ALL=1 a test may be
// skipped only for what the machine lacks (its reason begins with "machine:"); any other skip fails the run.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";

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
const leftOut = process.argv.slice(2).filter((arg) => arg.startsWith("!"));
if (leftOut.length > 0) console.log(`left out            ${leftOut.map((part) => part.slice(1)).join(" ")}`);
console.log();

const options = process.argv.slice(2).filter((arg) => arg.startsWith("-"));
const filters = process.argv.slice(2).filter((arg) => !/^[-!]/.test(arg));
// Node 20 takes no globs, so the files are listed here.
const files = ["pinless", "cli", "lab"]
  .map((name) => path.join("packages", name, "dist-test"))
  .flatMap((folder) => readdirSync(path.join(root, folder), { recursive: true }).map((file) => path.join(folder, file)))
  .filter((file) => file.endsWith(".test.js"))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .filter((file) => !leftOut.some((filter) => file.includes(filter.slice(1))))
  .sort();
if (files.length === 0) {
  console.error(`no test file matches ${filters.join(" ")}`);
  process.exit(1);
}

const temporary = mkdtempSync(path.join(scratch, "pinless-skips-"));
const reporter = "./scripts/skips-reporter.mjs";

/** One run of node's test runner, one file after the other; its exit code, and the tests that it skipped. */
function run(name, of, stdout) {
  const list = path.join(temporary, name);
  const reporters = ["--test-reporter=spec", "--test-reporter-destination=stdout", `--test-reporter=${reporter}`];
  const args = ["--enable-source-maps", "--test", "--test-concurrency=1", ...reporters];
  const child = spawn(process.execPath, [...args, `--test-reporter-destination=${list}`, ...options, ...of], {
    cwd: root,
    stdio: ["inherit", stdout, "inherit"],
  });
  const skipped = () =>
    read(list)
      .split("\n")
      .filter((line) => line !== "");
  // A run that a signal ended has no status.
  return once(child, "exit").then(([code]) => ({
    status: code ?? 1,
    skipped: skipped().map((line) => JSON.parse(line)),
  }));
}

// What only computes, or runs in a machine of its own, goes beside the rest, on another core; it's shown afterwards.
const computes = (file) =>
  /^packages\/(lab\/|pinless\/dist-test\/(protocol\/|memory\/|hazards\/(huge-pages|numa)))/.test(file);
const groups = [files.filter((file) => !computes(file)), files.filter(computes)].filter((group) => group.length > 0);
const said = path.join(temporary, "said");
const output = openSync(said, "w");
let status = 0;
const skipped = [];
try {
  const runs = groups.map((group, i) => run(`skipped-${i}`, group, i === 0 ? "inherit" : output));
  for (const ended of await Promise.all(runs)) {
    status ||= ended.status;
    skipped.push(...ended.skipped);
  }
  process.stdout.write(read(said));
} finally {
  closeSync(output);
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
