// Contenders of bench:engine: the loop in C and fio as a command for each call, pinless and node:fs in a process that
// stays. All have the same methods, which run for some milliseconds each:
//
//   speed(ms)       { iops, cpuUsPerIo, userUsPerIo, systemUsPerIo }
//   latency(ms)     { p50Us, p99Us, p999Us }, and of Node { ticksKept }
//   garbage(ms)     { garbageBytesPerIo }, null of what isn't JavaScript
//   systemCalls(ms) { systemCallsPerIo }
//   ran()           a sentence about what ran

import { execFileSync, fork } from "node:child_process";
import { join } from "node:path";
import { untilExit } from "./beds.mjs";
import { callsOfCommand, callsOfProcess } from "./system-calls.mjs";

const WARM_UP_MS = 300;

/** A process with load.mjs; it's killed at the end of this one. */
export function loadProcess(script, row) {
  const threads = row.threads === undefined ? {} : { UV_THREADPOOL_SIZE: String(row.threads) };
  const ring = row.uvRing === true ? { UV_USE_IO_URING: "1" } : {};
  const child = fork(script, [JSON.stringify(row)], {
    execArgv: ["--expose-gc"],
    env: { ...process.env, ...threads, ...ring },
  });
  const answer = () =>
    new Promise((resolve, reject) => {
      const ended = (code, signal) => reject(new Error(`${row.name}: ended with ${code ?? signal}`));
      child.once("exit", ended);
      child.once("message", (message) => {
        child.off("exit", ended);
        resolve(message);
      });
    });
  return {
    pid: child.pid,
    ready: answer(),
    run(message) {
      const answered = answer();
      child.send(message);
      return answered;
    },
    end: untilExit(() => child.kill("SIGKILL")),
  };
}

/** A contender, warmed up, or `{ missing }`: the reason why this machine hasn't got it. */
export async function openContender(row, path, folder) {
  if (row.by === "node") return await nodeContender({ ...row, file: path });
  if (row.by === "fio") return fioContender(row, path);
  return cContender(row, path, folder);
}

async function nodeContender(row) {
  const child = loadProcess(new URL("load.mjs", import.meta.url), row);
  const { missing } = await child.ready;
  if (missing !== null) {
    child.end();
    return { missing };
  }
  await child.run({ kind: "load", ms: WARM_UP_MS });
  return {
    speed: (ms) => child.run({ kind: "load", ms }),
    latency: (ms) => child.run({ kind: "latency", ms }),
    garbage: (ms) => child.run({ kind: "garbage", ms }),
    systemCalls: async (ms) => {
      const { calls, result } = await callsOfProcess(child.pid, () => child.run({ kind: "load", ms }));
      return { systemCallsPerIo: calls === null ? null : calls / result.requests };
    },
    ran: async () => (await child.run({ kind: "ran" })).ran,
    end: child.end,
  };
}

/** The program of C's loop, compiled into a folder. */
export function compileYardstick(folder) {
  const source = new URL("ring_loop.c", import.meta.url).pathname;
  execFileSync("cc", ["-O2", source, "-o", join(folder, "ring_loop"), "-luring"]);
}

function cContender({ depth, block }, path, folder) {
  const program = join(folder, "ring_loop");
  const args = (ms) => [path, "lifetime", String(depth), String(block), String(ms / 1000)];
  return {
    speed: (ms) => JSON.parse(execFileSync(program, args(ms))),
    latency: (ms) => JSON.parse(execFileSync(program, [...args(ms), "latency"])),
    garbage: () => ({ garbageBytesPerIo: null }),
    systemCalls: (ms) => {
      const { calls, output } = callsOfCommand(program, args(ms));
      return { systemCallsPerIo: calls === null ? null : calls / JSON.parse(output).requests };
    },
    ran: () => "liburing, one registered file, all buffers registered for life",
    end: () => {},
  };
}

function fioContender({ ioengine, depth, block }, path) {
  const version = fioVersion();
  if (version === null) return { missing: "fio isn't installed" };
  const registered = ioengine === "io_uring" ? ["--fixedbufs=1", "--registerfiles=1"] : [];
  const args = (ms, ...more) => [
    "--name=row",
    `--filename=${path}`,
    `--ioengine=${ioengine}`,
    `--iodepth=${depth}`,
    `--bs=${block}`,
    `--runtime=${ms}ms`,
    ...["--readonly", "--rw=randread", "--direct=1", "--norandommap", "--invalidate=0", "--thread"],
    ...registered,
    ...more,
    "--output-format=json",
  ];
  const jobOf = (output) => JSON.parse(output).jobs[0];
  const FASTEST = "--gtod_reduce=1";
  return {
    speed(ms) {
      const { read, usr_cpu, sys_cpu, job_runtime } = jobOf(execFileSync("fio", args(ms, FASTEST, "--time_based")));
      const us = (percent) => (percent * 10 * job_runtime) / read.total_ios;
      const [userUsPerIo, systemUsPerIo] = [us(usr_cpu), us(sys_cpu)];
      return { iops: read.iops, userUsPerIo, systemUsPerIo, cpuUsPerIo: userUsPerIo + systemUsPerIo };
    },
    latency(ms) {
      // From before its submission on, as the others' are: clat begins after it.
      const whole = ["--lat_percentiles=1", "--clat_percentiles=0"];
      const { percentile } = jobOf(execFileSync("fio", args(ms, "--time_based", ...whole))).read.lat_ns;
      const us = (share) => percentile[share] / 1000;
      return { p50Us: us("50.000000"), p99Us: us("99.000000"), p999Us: us("99.900000") };
    },
    garbage: () => ({ garbageBytesPerIo: null }),
    systemCalls(ms) {
      // What fio needs before its first read and after its last is counted in a run of one read.
      const { calls, output } = callsOfCommand("fio", args(ms, FASTEST, "--time_based"));
      const around = callsOfCommand("fio", args(ms, FASTEST, "--number_ios=1"));
      return { systemCallsPerIo: calls === null ? null : (calls - around.calls) / jobOf(output).read.total_ios };
    },
    ran: () => [version, ioengine, ...registered].join(" "),
    end: () => {},
  };
}

function fioVersion() {
  try {
    return execFileSync("fio", ["--version"]).toString().trim();
  } catch {
    return null;
  }
}
