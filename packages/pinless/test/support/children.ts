/** Child processes of a test: ended with it, whatever happens. */

import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ChildOptions {
  /** Arguments after the script. */
  readonly args?: readonly string[];
  /** Options for node. */
  readonly node?: readonly string[];
  /** A command in front of node, e.g. setpriv. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly limitMs?: number;
  /** A pipe, for a test that writes to the child. Default: /dev/null. */
  readonly stdin?: "pipe";
  /** Called with the running child. */
  readonly started?: (child: ChildProcess) => void;
}

/**
 * A command that runs another as an ordinary user with this limit on locked memory. All processes of a user share the
 * limit, so each test process has a user of its own.
 */
export function asOrdinaryUser(memlockBytes: number): string[] {
  const uid = 100_000 + process.pid;
  return [
    "setpriv",
    `--reuid=${uid}`,
    `--regid=${uid}`,
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
    "prlimit",
    `--memlock=${memlockBytes}:${memlockBytes}`,
  ];
}

/** Runs a module that is given as text. `PINLESS` in it is the package's URL. */
export async function runModule(source: string, options: ChildOptions = {}): Promise<Ended> {
  const url = new URL("../../dist/index.js", import.meta.url).href;
  const text = source.replaceAll("PINLESS", JSON.stringify(url));
  return run([...(options.node ?? []), "--input-type=module", "--eval", text, "--", ...(options.args ?? [])], options);
}

/** Runs `pinless` as a user would. */
export function runCommand(args: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  return run([fileURLToPath(new URL("../../../cli/dist/main.js", import.meta.url)), ...args], options);
}

/** Runs `pinless-lab` as a user would. */
export function runLab(args: readonly string[], options: ChildOptions = {}): Promise<Ended> {
  return run([fileURLToPath(new URL("../../../lab/dist/main.js", import.meta.url)), ...args], options);
}

function run(args: readonly string[], options: ChildOptions): Promise<Ended> {
  const [command = process.execPath, ...before] = [...(options.wrapper ?? []), process.execPath];
  const limitMs = options.limitMs ?? 180_000;
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...before, ...args], {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: "", ...options.env },
      stdio: [options.stdin ?? "ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout!.setEncoding("utf8").on("data", (text) => {
      stdout += text;
    });
    child.stderr!.setEncoding("utf8").on("data", (text) => {
      stderr += text;
    });
    const end = (): void => void child.kill("SIGKILL");
    process.once("exit", end);
    const timer = setTimeout(end, limitMs);
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      process.off("exit", end);
      resolve({ code, signal, stdout, stderr });
    });
    options.started?.(child);
  });
}
