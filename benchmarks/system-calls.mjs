// Counts of system calls, by the kernel's tracepoint and perf. It makes every call slower: it has runs of its own.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

const COUNT = ["stat", "-x,", "-e", "raw_syscalls:sys_enter", "--log-fd", "3"];

/** The system calls of a command, and its output; `calls` is null where perf can't count. */
export function callsOfCommand(command, args) {
  const counting = missing === null;
  const [program, all] = counting ? ["perf", [...COUNT, "--", command, ...args]] : [command, args];
  const { status, error, output } = spawnSync(program, all, { stdio: ["ignore", "pipe", "inherit", "pipe"] });
  if (status !== 0) throw error ?? new Error(`${command} ended with ${status}`);
  return { calls: counting ? callsIn(output[3]) : null, output: output[1] };
}

/** The system calls of a process with all of its threads while `work` lasts, and what `work` gives. */
export async function callsOfProcess(pid, work) {
  if (missing !== null) return { calls: null, result: await work() };
  // Counting has begun when the command runs, and ends with it.
  const args = [...COUNT, "-p", String(pid), "--", "sh", "-c", "echo begun; read line"];
  const perf = spawn("perf", args, { stdio: ["pipe", "pipe", "inherit", "pipe"] });
  const counted = text(perf.stdio[3]);
  await once(perf.stdout, "data");
  const result = await work();
  perf.stdin.end("\n");
  return { calls: callsIn(await counted), result };
}

/** The number in perf's line; it says "<not counted>" if there was none. */
function callsIn(line) {
  const [count] = String(line).trim().split(",");
  if (count === "<not supported>") throw new Error(`perf: ${line}`);
  return count === "<not counted>" ? 0 : Number(count);
}

/** The reason why system calls aren't counted on this machine, or null. */
const missing = (() => {
  const { status, error, output } = spawnSync("perf", [...COUNT, "true"], {
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  if (status === 0 && callsIn(output[3]) > 0) return null;
  return error?.code === "ENOENT" ? "perf isn't installed" : `perf: ${String(output?.[2]).trim().split("\n")[0]}`;
})();

/** A sentence about the count of system calls. */
export const howCounted =
  missing === null
    ? "perf stat -e raw_syscalls:sys_enter, in runs of their own"
    : `not counted (${missing}): it takes perf, and the right to count raw_syscalls:sys_enter`;
