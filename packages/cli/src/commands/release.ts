/** `pinless release`: makes running processes give their pins back. */

import { statSync } from "node:fs";
import { Command } from "commander";
import { FAILED } from "../command/failures.js";
import { mibText } from "../command/figures.js";
import { processNumber, seconds } from "../command/number-arguments.js";
import { complain, print, printJson } from "../command/output.js";
import {
  Connection,
  type ReleaseAnswer,
  reachableProcesses,
  type SocketPath,
  socketsOf,
  Unreachable,
  within,
} from "../control/client.js";

const DEFAULT_SECONDS = 10;
/** Limit of Node's timers. */
const MAX_SECONDS = 2_000_000;
/** Processes of each user that are asked at a time, limited for the sake of descriptors. */
const PROCESSES_AT_ONCE = 8;
/** Threads of each process that are asked at a time. */
const THREADS_AT_ONCE = 4;

interface Flags {
  readonly all?: true;
  readonly json?: true;
  readonly timeout: number;
}

interface ReleasedEngine {
  readonly pid: number;
  readonly thread: number;
  readonly engine: number;
  readonly scheme: string;
  readonly pin: string;
  readonly leases: number;
  readonly bytes: number;
}

interface Failure {
  readonly pid: number;
  readonly code: string;
  readonly message: string;
}

export function releaseCommand(): Command {
  return new Command("release")
    .description("Make running processes give their leases back now")
    .argument("[pid...]", "the processes", processNumbers)
    .option("--all", "every process of yours that has an engine; for root: of every user")
    .option("--json", "write the released leases and the failures as JSON")
    .option(
      "--timeout <seconds>",
      "maximum time to wait for each process",
      seconds(0.001, MAX_SECONDS),
      DEFAULT_SECONDS,
    )
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless release --help)")
    .exitOverride()
    .action((pids: readonly number[], flags: Flags, command: Command) => {
      if ((flags.all === true) === pids.length > 0) command.error("error: give either process numbers or --all");
      return release(pids, flags);
    });
}

const HELP = `
The command asks the processes over a socket that only their user and root can
access; it sends no signal. A process answers once the kernel has released the
pages. I/O goes on, and takes leases again when they pay. Lifetime registrations
(pin "lifetime") are ended for good.

Exit codes: 0 all released; 1 a process couldn't be reached; 2 wrong usage.`;

/** Parses process numbers. Commander passes one argument at a time, with the result so far. */
function processNumbers(text: string, before: readonly number[] | undefined): readonly number[] {
  return [...(before ?? []), processNumber(text)];
}

async function release(asked: readonly number[], { all, json, timeout }: Flags): Promise<void> {
  const released: ReleasedEngine[] = [];
  const failed: Failure[] = [];
  const pids = all === true ? reachableProcesses() : [...new Set(asked)];
  const ask = async (pid: number): Promise<void> => {
    for (const outcome of await releaseProcess(pid, timeout)) {
      if (!(outcome instanceof Unreachable)) released.push(...outcome);
      // With --all, a process that has ended, or a stale socket, isn't an error.
      else if (all !== true || !["ESRCH", "ENOENT"].includes(outcome.code))
        failed.push({ pid, code: outcome.code, message: outcome.message });
    }
  };
  // Processes are grouped by user, so that a user whose processes don't answer delays only their own.
  const users = new Map<number, number[]>();
  for (const pid of pids) users.set(userOf(pid), [...(users.get(userOf(pid)) ?? []), pid]);
  await Promise.all([...users.values()].map((theirs) => eachOf(theirs, PROCESSES_AT_ONCE, ask)));
  released.sort((a, b) => a.pid - b.pid || a.thread - b.thread || a.engine - b.engine);
  failed.sort((a, b) => a.pid - b.pid);
  if (json === true) printJson({ released, failed }, 2);
  else {
    for (const engine of released) print(`${lineOf(engine)}\n`);
    for (const { pid, message } of failed) complain("pinless release", `${pid}: ${message}`);
    if (pids.length === 0) print("no process with an engine\n");
  }
  if (failed.length > 0) process.exitCode = FAILED;
}

function userOf(pid: number): number {
  return statSync(`/proc/${pid}`, { throwIfNoEntry: false })?.uid ?? -1;
}

/** Runs `act` on all items, `atOnce` at a time. */
async function eachOf<T>(items: readonly T[], atOnce: number, act: (item: T) => Promise<void>): Promise<void> {
  const rest = items.values();
  const lane = async (): Promise<void> => {
    for (const item of rest) await act(item);
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/**
 * Result of each thread: engines released, or the reason why it couldn't be asked. All threads together have `timeout`
 * seconds.
 */
async function releaseProcess(pid: number, timeout: number): Promise<(ReleasedEngine[] | Unreachable)[]> {
  const endMs = performance.now() + timeout * 1000;
  const outcomes: (ReleasedEngine[] | Unreachable)[] = [];
  try {
    await eachOf(socketsOf(pid), THREADS_AT_ONCE, async (socketPath) => {
      const leftMs = endMs - performance.now();
      // The other threads may have used up the time.
      if (leftMs > 0) outcomes.push(await releaseThread(pid, socketPath, leftMs, timeout));
      else outcomes.push(new Unreachable("ETIMEDOUT", `thread ${socketPath.thread} wasn't asked within ${timeout} s`));
    });
  } catch (error) {
    outcomes.push(asUnreachable(error));
  }
  return outcomes;
}

async function releaseThread(
  pid: number,
  socketPath: SocketPath,
  leftMs: number,
  timeout: number,
): Promise<ReleasedEngine[] | Unreachable> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.open(socketPath, pid);
    const { engines }: ReleaseAnswer = await within(leftMs, timeout, connection.release());
    return engines.map(({ engine, scheme, pin, leases, bytes }) => {
      return { pid, thread: socketPath.thread, engine, scheme, pin, leases, bytes };
    });
  } catch (error) {
    return asUnreachable(error);
  } finally {
    connection?.close();
  }
}

/** Converts any error, since it concerns one process only and the others still have to be asked. */
function asUnreachable(error: unknown): Unreachable {
  return error instanceof Unreachable ? error : new Unreachable("EPROTO", (error as Error).message);
}

function lineOf({ pid, thread, engine, scheme, pin, leases, bytes }: ReleasedEngine): string {
  const which = `${pid}${thread === 0 ? "" : ` thread ${thread}`}${engine === 0 ? "" : ` engine ${engine}`}`;
  const what = pin === "lifetime" ? "registrations" : "leases";
  return `${which}: ${leases} ${what}, ${mibText(bytes)} given back (${scheme}, ${pin})`;
}
