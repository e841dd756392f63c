// `pinless top`, against processes whose engines come, go and are busy.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Ended } from "../../../pinless/dist-test/support/children.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";
import { type EngineFigures, lineOf, linesOf, type Picture } from "../../dist/commands/top-picture.js";
import { hasTools, LEASES, MIB, ownRuntime, pinless, type Runtime, stranger, subject } from "./subject.js";

/** `pinless top` while it runs. */
function top(t: TestContext, args: readonly (string | number)[], runtime: Runtime) {
  let child: ChildProcess | undefined;
  let stdout = "";
  const started = (started: ChildProcess): void => {
    child = started;
    child.stdout!.on("data", (text: string) => {
      stdout += text;
    });
  };
  const ended: Promise<Ended> = pinless(["top", "--delay", 0.2, ...args], { ...runtime, started });
  undoing(t, async () => {
    child!.kill("SIGKILL");
    await ended;
  });
  return { child: child!, ended, lines: (): string[] => stdout.split("\n").slice(0, -1) };
}

test("pinless top writes a line each time, and ends when the process does", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run, leave } = await subject(t, runtime);
  await run("return hold()");
  const { ended, lines } = top(t, [pid], runtime);
  // A process that hasn't answered yet is shown as busy, without engines.
  const answered = (): string[] => lines().filter((line) => !/event loop busy/.test(line));
  await until("two lines", () => answered().length >= 2);
  await leave();
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [0, `pinless top: ${pid}: has ended\n`]);
  for (const line of answered())
    assert.match(line, new RegExp(`^\\d\\d:\\d\\d:\\d\\d  ${pid}  engines 1  .*leases ${LEASES}  4.0 MiB`));
});

test("pinless top --json: the figures of every engine, and requests a second", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("await hold(); await hold({ pin: 'per-io' }); return 0");
  const { ended, lines, child } = top(t, ["--json", pid], runtime);
  const pictures = (): Picture[] => lines().map((line) => JSON.parse(line));
  // There are none until it has answered, and no requests a second until it has answered twice.
  const engine = (picture: Picture | undefined, which: number): EngineFigures | undefined =>
    picture?.threads[0]?.engines[which];
  await until("a rate", () => typeof engine(pictures().at(-1), 1)?.requestsPerSecond === "number");
  await run("return read(engines[1], 50)");
  const moved = (): Picture | undefined =>
    pictures().find((picture) => (engine(picture, 1)?.requestsPerSecond ?? 0) > 0);
  await until("requests are seen", () => moved() !== undefined);
  const picture = moved()!;
  assert.deepEqual([picture.pid, picture.threads.length, picture.threads[0]!.silentSeconds], [pid, 1, 0]);
  assert.equal(engine(picture, 0)?.requestsPerSecond, 0);
  await until("it's quiet again", () => engine(pictures().at(-1), 1)?.requestsPerSecond === 0);
  assert.deepEqual([engine(picture, 0)?.leases.live, engine(picture, 1)?.pin], [LEASES, "per-io"]);
  child.kill("SIGINT");
  const { code, stderr } = await ended;
  assert.deepEqual([code, stderr], [0, ""], "Ctrl-C is how one leaves");
});

test("pinless top goes on while engines and threads come and go", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("return hold()");
  const { lines, ended, child } = top(t, [pid], runtime);
  const sees = (what: string): Promise<void> => until(what, () => lines().at(-1)?.includes(`  ${what}  `) === true);
  await sees("engines 1");
  await run("globalThis.worker = await inWorker(); return 0");
  await sees("engines 2");
  await run("await worker.terminate(); return engines.pop().engine.close()");
  await sees("engines 0");
  await run("return hold()");
  await sees("engines 1");
  child.kill("SIGTERM");
  assert.equal((await ended).code, 143);
});

test("pinless top says that the event loop is busy, and goes on when it's free", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  await run("return hold()");
  const { lines } = top(t, [pid], runtime);
  await until("a line", () => lines().length > 0);
  const free = path.join(scratchDirectory(t), "free");
  const blocked = run(`blockUntil(${JSON.stringify(free)})`);
  await until("it's said", () => /requests\/s \?.*leases 2.*event loop busy for \d+ s$/.test(lines().at(-1)!));
  writeFileSync(free, "");
  await blocked;
  await until("it's free", () => !lines().at(-1)!.includes("busy"));
});

test("pinless top --once, also for a process that doesn't exist", async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run } = await subject(t, runtime);
  const early = await pinless(["top", pid], runtime);
  assert.deepEqual(early, {
    code: 1,
    signal: null,
    stdout: "",
    stderr: `pinless top: ${pid}: isn't a pinless process, or has no engine open\n`,
  });
  await run("return hold()");
  const { code, stdout } = await pinless(["top", "--once", "-d", 0.1, pid], runtime);
  assert.equal(code, 0);
  assert.match(stdout, /^io_uring, lease: 0\/s$/m);
  assert.match(stdout, /^leases {4}2 live, 4.0 MiB$/m);
  const json = await pinless(["top", "--once", "-d", 0.1, "--json", pid], runtime);
  assert.equal(JSON.parse(json.stdout).threads[0].engines[0].leases.live, LEASES);
  assert.equal((await pinless(["top", await stranger(t)], runtime)).code, 1);
  assert.match((await pinless(["top", 4_194_304], runtime)).stderr, /no such process/);
  for (const args of [[], ["x"], ["1", "2"], ["-d", "0", pid]]) assert.equal((await pinless(["top", ...args])).code, 2);
});

test("pinless top is redrawn in place on a narrow terminal, and gives the cursor back", {
  skip: hasTools("script", "stty") ? false : "machine: no script, which makes terminals",
}, async (t) => {
  const runtime = ownRuntime(t);
  const { pid, run, leave } = await subject(t, runtime);
  await run("return hold()");
  const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
  const command = `stty cols 40 rows 10; '${process.execPath}' '${main}' top -d 0.2 ${pid}`;
  const terminal = spawn("script", ["-qefc", command, "/dev/null"], {
    env: { ...process.env, ...runtime.env, TERM: "xterm" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  undoing(t, () => void terminal.kill("SIGKILL"));
  let drawn = "";
  terminal.stdout.setEncoding("utf8").on("data", (text: string) => {
    drawn += text;
  });
  const UP = "\x1b[9A";
  await until("three pictures", () => drawn.split(UP).length > 3);
  await leave();
  await until("the cursor is back", () => drawn.includes("\x1b[?25h"));
  const [first = "", second = ""] = drawn.split(UP);
  assert.ok(first.startsWith("\x1b[?25l"));
  // Nine lines, so that the tenth stays free and nothing scrolls.
  assert.equal(second.split("\n").length, 10);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  for (const line of second.split("\n")) assert.ok(line.replace(/\x1b\[\d*[KJ]|\r/g, "").length <= 40, line);
});

const FIGURES: EngineFigures = {
  engine: 7,
  requestsPerSecond: 1_234_567.8,
  scheme: "io_uring",
  pin: "lease",
  submitted: 1e9,
  completed: 123_456_789_012,
  failed: 123_456_789,
  held: 5,
  reissued: 0,
  perIo: 123_456_789,
  refusedAtImport: 0,
  revalidated: 3,
  invalidations: {
    UNMAP: 1,
    CLEAR: 123_456_789,
    PROTECTION_VMA: 2,
    PROTECTION_PAGE: 3,
    SOFT_DIRTY: 4,
    RELEASE: 5,
    MIGRATE: 0,
    EXCLUSIVE: 6,
  },
  waited: { count: 7, p50Ms: 1, p99Ms: 1234.5678, maxMs: 12_345.678 },
  leases: {
    live: 256,
    bytes: 512 * MIB,
    budget: 512 * MIB,
    taken: 123_456_789,
    dropped: 123_456_533,
    residencyMax: 3_600_000,
  },
  pressure: { source: "PSI", givenUp: 12_345, active: true },
  bounced: 123_456_789,
  buffered: 123_456_789,
  degraded: [
    "a sentence that is much longer than a terminal of forty columns, with/a/path/that/can't/be/broken/anywhere",
  ],
};

test("linesOf fits 40 columns, whatever the figures are", () => {
  const thread = {
    thread: 4_194_304,
    silentSeconds: 86_400,
    engines: [FIGURES, { ...FIGURES, requestsPerSecond: null }],
  };
  const lines = linesOf({ time: "2026-01-02T03:04:05Z", pid: 4_194_304, threads: [thread] }, 40);
  for (const line of lines) assert.ok(line.length <= 40, line);
  for (const text of [
    "thread 4194304",
    "1,234,568/s",
    "?/s",
    "256 live, 512.0 MiB",
    "and now",
    "! a sentence",
    "MIGRATE",
  ])
    assert.equal(lines.join("\n").includes(text), text !== "MIGRATE", text);
  assert.deepEqual(linesOf({ time: "2026-01-02T03:04:05Z", pid: 1, threads: [] }, 40).slice(1), [
    "",
    "no engine is open",
  ]);
});

test("lineOf adds up the engines of all threads", () => {
  const threads = [1, 2].map((thread) => ({ thread, silentSeconds: thread - 1, engines: [FIGURES] }));
  const line = lineOf({ time: "2026-01-02T03:04:05Z", pid: 3, threads });
  assert.match(
    line,
    / 3 {2}engines 2 {2}requests\/s 2469136 {2}leases 512 {2}1024.0 MiB {2}.*degraded 2 {2}event loop busy for 1 s$/,
  );
});
