/** A process with engines that an operator looks at. */

import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { type ChildOptions, type Ended, runCommand, runModule } from "../../../pinless/dist-test/support/children.js";
import { needsRoot } from "../../../pinless/dist-test/support/disks.js";
import { scratchDirectory, undoing } from "../../../pinless/dist-test/support/undo.js";
import { until } from "../../../pinless/dist-test/support/until.js";

export const MIB = 1 << 20;
export const LEASES = 2;

/**
 * Opens engines and obeys its standard input: each line is run as a function's body, and its result written as a line.
 * `hold(options)` opens an engine that holds LEASES leases for an hour.
 */
const SOURCE = `
  import { createInterface } from "node:readline";
  import { existsSync } from "node:fs";
  import { Worker } from "node:worker_threads";
  import { Engine } from PINLESS;
  const HOUR = 3_600_000;
  globalThis.engines = [];
  globalThis.read = async ({ file, memory }, rounds = 3) => {
    for (let round = 0; round < rounds; round++)
      for (let at = 0; at < memory.byteLength; at += ${2 * MIB})
        await file.read(memory.subarray(at, at + 4096), { position: 0 });
  };
  globalThis.hold = async (options = {}) => {
    const lease = { idle: HOUR, max: HOUR, budget: ${LEASES * 2 * MIB} };
    const engine = await Engine.open({ depth: 4, lease, events: { pressure: false }, ...options });
    const arena = await engine.arena({ bytes: ${LEASES * 2 * MIB} });
    const bed = { engine, memory: arena.alloc(arena.bytes), file: await engine.openFile(process.argv[1]) };
    await read(bed);
    engines.push(bed);
    return engine.stats();
  };
  const IN_WORKER = \`
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData).then(async ({ Engine }) => {
      globalThis.kept = await Engine.open();
      parentPort.on("message", () => {}).postMessage("open");
    });
  \`;
  globalThis.inWorker = () => new Promise((resolve, reject) => {
    const worker = new Worker(IN_WORKER, { eval: true, execArgv: [], workerData: PINLESS });
    worker.once("error", reject).once("message", () => resolve(worker));
  });
  globalThis.blockUntil = (file) => { while (!existsSync(file)); };
  const lines = createInterface({ input: process.stdin });
  console.log("ready");
  for await (const line of lines) {
    const result = await new (Object.getPrototypeOf(async () => {}).constructor)(line)();
    console.log(JSON.stringify(result ?? null));
  }
  // Its input has ended: from here on nothing but engines could keep it alive.
`;

/** Skips tests whose engines together hold more leases than an ordinary user may lock. */
export const needsMemlock: string | false =
  needsRoot !== false &&
  Number(/^Max locked memory +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1]) < 16 * MIB
    ? "needs root, or 16 MiB of RLIMIT_MEMLOCK"
    : false;

export interface Subject {
  readonly pid: number;
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Runs this in the process; what it returns. */
  run<T = unknown>(source: string): Promise<T>;
  /** Ends its input. */
  leave(): Promise<Ended>;
}

/** The directory where sockets of processes are that are started with `env`. */
export interface Runtime {
  readonly directory: string;
  readonly env: Readonly<Record<string, string>>;
}

/** A runtime directory of a test's own: the machine's has the sockets of others. */
export function ownRuntime(t: TestContext, uid = process.getuid!()): Runtime {
  const parent = scratchDirectory(t);
  const runtime = path.join(parent, "runtime");
  mkdirSync(runtime, { mode: 0o700 });
  chmodSync(parent, 0o755);
  chownSync(runtime, uid, uid);
  return { directory: path.join(runtime, "pinless"), env: { XDG_RUNTIME_DIR: runtime } };
}

export async function subject(t: TestContext, runtime: Runtime, options: ChildOptions = {}): Promise<Subject> {
  const data = path.join(scratchDirectory(t), "data");
  writeFileSync(data, Buffer.alloc(4096));
  chmodSync(path.dirname(data), 0o755);
  chmodSync(data, 0o644);
  let child: ChildProcess | undefined;
  const ended = runModule(SOURCE, {
    ...options,
    stdin: "pipe",
    env: { ...runtime.env, ...options.env },
    args: [data],
    started: (started) => {
      child = started;
    },
  });
  const said: string[] = [];
  let rest = "";
  child!.stdout!.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    said.push(...lines);
  });
  undoing(t, async () => {
    child!.kill("SIGKILL");
    await ended;
  });
  let isOver: Ended | null = null;
  void ended.then((how) => {
    isOver = how;
  });
  const next = async (): Promise<string> => {
    await until("an answer of the subject", () => said.length > 0 || isOver !== null, { limitMs: 60_000 });
    assert.ok(said.length > 0, isOver?.stderr);
    return said.shift()!;
  };
  await next();
  return {
    pid: realPid(child!.pid!),
    child: child!,
    ended,
    run: async (source) => {
      child!.stdin!.write(`${source}\n`);
      return JSON.parse(await next());
    },
    leave: () => {
      child!.stdin!.end();
      return ended;
    },
  };
}

/** Below unshare --fork, it's the child's. */
function realPid(pid: number): number {
  const isUnshare = readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "unshare";
  return isUnshare ? Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim()) : pid;
}

/** Names in a directory; none if it doesn't exist. */
export function contents(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

/** Runs `pinless` to its end. */
export function pinless(args: readonly (string | number)[], options: ChildOptions = {}): Promise<Ended> {
  return runCommand(args.map(String), options);
}

/** A process that isn't one of ours. */
export async function stranger(t: TestContext, wrapper: readonly string[] = []): Promise<number> {
  const [command = "sleep", ...args] = [...wrapper, "sleep", "1000"];
  const child = spawn(command, args, { stdio: "ignore" });
  undoing(t, () => void child.kill("SIGKILL"));
  await once(child, "spawn");
  return child.pid!;
}

export function hasTools(...names: string[]): boolean {
  try {
    for (const name of names) execFileSync("sh", ["-c", `command -v ${name}`], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
