/** `pinless release`: takes the pins of running processes away. */

import { Command, InvalidArgumentError } from "commander";
import {
  Connection,
  type ReleaseAnswer,
  reachableProcesses,
  type SocketPlace,
  socketsOf,
  Unreachable,
  within,
} from "../operators/client.js";

const FAILED = 1;
const DEFAULT_SECONDS = 10;

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
    .description("Have running processes give their leases back, now")
    .argument("[pid...]", "the processes", processNumbers)
    .option("--all", "every process of yours that has an engine; for root: everybody's")
    .option("--json", "write what was released, and what failed, as JSON")
    .option("--timeout <seconds>", "how long to wait for each", seconds, DEFAULT_SECONDS)
    .addHelpText("after", HELP)
    .showHelpAfterError("(try pinless release --help)")
    .exitOverride()
    .action((pids: readonly number[], flags: Flags, command: Command) => {
      if ((flags.all === true) === pids.length > 0) command.error("error: it takes either process numbers or --all");
      return release(pids, flags);
    });
}

const HELP = `
The processes are asked, over a socket that only their user and root can reach; no signal is sent. The answer comes once
the kernel has let go of the pages. I/O goes on, and takes leases again when it's worth it. Registrations for life
(pin "lifetime") are ended for good.

Exit codes: 0 all released; 1 something couldn't be reached; 2 wrong usage.`;

/** Commander hands over one at a time, and what there is so far. */
function processNumbers(text: string, before: readonly number[] | undefined): readonly number[] {
  return [...(before ?? []), processNumber(text)];
}

export function processNumber(text: string): number {
  const pid = Number(text);
  if (!/^\d+$/.test(text) || pid < 1 || !Number.isSafeInteger(pid))
    throw new InvalidArgumentError("It takes process numbers.");
  return pid;
}

function seconds(text: string): number {
  const value = Number(text);
  // A timer of Node's takes no more.
  if (!/^\d*\.?\d+$/.test(text) || value <= 0 || value > 2_000_000)
    throw new InvalidArgumentError("It takes a number of seconds above 0.");
  return value;
}

async function release(asked: readonly number[], { all, json, timeout }: Flags): Promise<void> {
  const released: ReleasedEngine[] = [];
  const failed: Failure[] = [];
  const pids = all === true ? reachableProcesses() : [...new Set(asked)];
  await Promise.all(
    pids.map(async (pid) => {
      for (const outcome of await releaseProcess(pid, timeout)) {
        if (!(outcome instanceof Unreachable)) released.push(...outcome);
        // It has ended meanwhile, or only somebody's socket is named like it.
        else if (all !== true || !["ESRCH", "ENOENT"].includes(outcome.code))
          failed.push({ pid, code: outcome.code, message: outcome.message });
      }
    }),
  );
  released.sort((a, b) => a.pid - b.pid || a.thread - b.thread || a.engine - b.engine);
  failed.sort((a, b) => a.pid - b.pid);
  if (json === true) process.stdout.write(`${JSON.stringify({ released, failed }, null, 2)}\n`);
  else {
    for (const engine of released) process.stdout.write(`${lineOf(engine)}\n`);
    for (const { pid, message } of failed) process.stderr.write(`pinless release: ${pid}: ${message}\n`);
    if (pids.length === 0) process.stdout.write("no process with an engine\n");
  }
  if (failed.length > 0) process.exitCode = FAILED;
}

/** What each of its threads released, or why it couldn't be asked. */
async function releaseProcess(pid: number, timeout: number): Promise<(ReleasedEngine[] | Unreachable)[]> {
  try {
    return await Promise.all(socketsOf(pid).map((place) => releaseThread(pid, place, timeout)));
  } catch (error) {
    return [asUnreachable(error)];
  }
}

async function releaseThread(
  pid: number,
  place: SocketPlace,
  timeout: number,
): Promise<ReleasedEngine[] | Unreachable> {
  let connection: Connection | undefined;
  try {
    connection = await Connection.open(place, pid);
    const { engines }: ReleaseAnswer = await within(timeout, connection.release());
    return engines.map(({ engine, scheme, pin, leases, bytes }) => {
      return { pid, thread: place.thread, engine, scheme, pin, leases, bytes };
    });
  } catch (error) {
    return asUnreachable(error);
  } finally {
    connection?.close();
  }
}

function asUnreachable(error: unknown): Unreachable {
  if (error instanceof Unreachable) return error;
  throw error;
}

function lineOf({ pid, thread, engine, scheme, pin, leases, bytes }: ReleasedEngine): string {
  const which = `${pid}${thread === 0 ? "" : ` thread ${thread}`}${engine === 0 ? "" : ` engine ${engine}`}`;
  const what = pin === "lifetime" ? "registrations" : "leases";
  return `${which}: ${leases} ${what}, ${(bytes / 2 ** 20).toFixed(1)} MiB given back (${scheme}, ${pin})`;
}
