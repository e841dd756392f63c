/** The bench's side of a worker process. */

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Unavailable } from "./bench-error.js";
import type { Configuration } from "./configurations.js";
import type { Reply, Request, Target, Task, WorkerAnswer } from "./worker-protocol.js";

const STDERR_KEPT = 2000;
const NO_TIME = "there was no time left: it took too long";

export class BenchWorker {
  readonly #configuration: Configuration;
  readonly #target: Target;
  readonly #child: ChildProcess;
  #stderr = "";
  #waiting: { resolve(answer: unknown): void; reject(error: Error): void } | null = null;
  #gone: string | null = null;
  #late = false;

  constructor(configuration: Configuration, target: Target) {
    this.#configuration = configuration;
    this.#target = target;
    // The worker has a process group of its own, so that Ctrl-C reaches only the bench, which ends it.
    this.#child = fork(new URL("./worker-process.js", import.meta.url), [], {
      detached: true,
      execArgv: [],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.on("data", (text: Buffer) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
    });
    this.#child.on("message", (reply: Reply) => {
      if ("answer" in reply) this.#waiting?.resolve(reply.answer);
      else this.#waiting?.reject(reply.unavailable ? new Unavailable(reply.error) : new Error(reply.error));
      this.#waiting = null;
    });
    this.#child.on("error", (error) => this.#end(error.message));
    this.#child.on("close", (code, signal) => this.#end(signal === null ? `exit code ${code}` : signal));
  }

  /**
   * Runs a task; the one before must have ended. Rejects if it fails, takes longer than `limitMs`, or the process ends.
   */
  async run<T extends Task>(task: T, limitMs: number): Promise<WorkerAnswer<T>> {
    if (this.#late) throw new Unavailable(NO_TIME);
    if (this.#gone !== null) throw new Error(this.#gone);
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    const limit = setTimeout(() => {
      this.#waiting?.reject(new Unavailable(NO_TIME));
      this.#waiting = null;
      this.#late = true;
      this.#end("it took too long");
      this.#child.kill("SIGKILL");
    }, limitMs);
    const request: Request = { configuration: this.#configuration, target: this.#target, task };
    this.#child.send(request, (error) => {
      if (error !== null) this.#end(error.message);
    });
    try {
      return (await answer) as WorkerAnswer<T>;
    } finally {
      clearTimeout(limit);
    }
  }

  #end(how: string): void {
    const said = this.#stderr.trim().split("\n").at(-1) ?? "";
    this.#gone ??= `its process ended: ${how}${said === "" ? "" : ` (${said})`}`;
    this.#waiting?.reject(new Error(this.#gone));
    this.#waiting = null;
  }

  /** Ends the process; resolves once it's gone. */
  async close(): Promise<void> {
    const { exitCode, signalCode, pid } = this.#child;
    if (exitCode !== null || signalCode !== null || pid === undefined) return;
    const gone = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await gone;
  }
}
