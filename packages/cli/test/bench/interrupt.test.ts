// Nothing is left behind by a run that is interrupted or killed.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { until } from "../../../pinless/dist-test/support/until.js";
import { childrenOf, isAlive, start } from "./run.js";

let scratch = "";

beforeEach(() => {
  scratch = mkdtempSync(path.join(tmpdir(), "pinless-interrupt-"));
});
afterEach(() => rmSync(scratch, { recursive: true, force: true }));

function swaps(): string {
  return readFileSync("/proc/swaps", "utf8");
}

/** The scratch file is there: the run has begun. Its swap file comes later. */
function hasBegun(): boolean {
  return readdirSync(scratch).some((made) => existsSync(path.join(scratch, made, "data")));
}

/** Interrupts a run at a moment, and looks at what is left. */
async function interrupt(signal: NodeJS.Signals, moment: (pid: number) => boolean): Promise<number | null> {
  const { child, ended } = start(["bench", "--quick"], scratch);
  await until("the run to begin", () => moment(child.pid!));
  const processes = childrenOf(child.pid!);
  assert.ok(processes.length > 0);
  child.kill(signal);
  const { code, stdout, stderr } = await ended;
  assert.equal(stdout, "");
  assert.equal(stderr, "");
  if (signal === "SIGKILL") await until("the files to go", () => readdirSync(scratch).length === 0);
  assert.deepEqual(readdirSync(scratch), []);
  assert.ok(!swaps().includes(scratch), swaps());
  await until("the processes to go", () => !processes.some(isAlive));
  return code;
}

/** All ten workers are there: the comparison runs. */
function compares(pid: number): boolean {
  return hasBegun() && childrenOf(pid).length >= 11;
}

test("Ctrl-C while the files are made", async () => {
  assert.equal(await interrupt("SIGINT", hasBegun), 130);
});

test("Ctrl-C while it compares", async () => {
  assert.equal(await interrupt("SIGINT", compares), 130);
});

test("SIGTERM while it compares", async () => {
  assert.equal(await interrupt("SIGTERM", compares), 143);
});

test("SIGKILL while it compares", async () => {
  assert.equal(await interrupt("SIGKILL", compares), null);
});
