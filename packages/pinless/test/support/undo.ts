/** Changes to the machine, undone in the opposite order when the test ends: also when it fails or the process dies. */

import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Readable, Writable } from "node:stream";
import type { TestContext } from "node:test";

type Undo = () => void | Promise<void>;

const undos = new WeakMap<object, Undo[]>();

/** Hooks of node:test run first come, first served; mounts need it the other way round. */
export function undoing(t: TestContext, undo: Undo): void {
  let list = undos.get(t);
  if (list === undefined) {
    const made: Undo[] = [];
    list = made;
    undos.set(t, made);
    t.after(async () => {
      const errors: unknown[] = [];
      for (const each of made.reverse()) {
        try {
          await each();
        } catch (error) {
          errors.push(error);
        }
      }
      if (errors.length > 0) throw errors[0];
    });
  }
  list.push(undo);
}

/**
 * Starts a shell that runs `command` when the test or this process ends, however it ends: it waits on a pipe from this
 * process. It's detached, so that a Ctrl-C doesn't end it first.
 */
export function undoingByShell(t: TestContext, command: string): void {
  startShell(t, `read -r _; ${command}`);
}

/**
 * Gives a file of the kernel's (a sysctl) another value until the test ends, however it ends. A lock lets one test run
 * in at a time: of two, the second would restore the value of the first.
 */
export async function withSetting(t: TestContext, file: string, value: string): Promise<void> {
  const lock = path.join(os.tmpdir(), `pinless-lock-${path.basename(file)}`);
  const change = `before=$(cat ${file}); echo ${value} > ${file}; echo changed; read -r _; echo "$before" > ${file}`;
  const shell = startShell(t, `exec 9> ${lock}; flock 9; ${change}`);
  await once(shell.stdout, "data");
}

function startShell(t: TestContext, script: string): ChildProcessByStdio<Writable, Readable, Readable> {
  const shell = spawn("sh", ["-c", script], { detached: true, stdio: ["pipe", "pipe", "pipe"] });
  let said = "";
  shell.stderr.on("data", (text) => {
    said += text;
  });
  shell.unref();
  undoing(t, async () => {
    const ended = once(shell, "exit");
    shell.ref();
    shell.stdin.end();
    const [code] = await ended;
    if (code !== 0) throw new Error(`${script}: exit ${code}: ${said}`);
  });
  return shell;
}

/** A directory on the scratch filesystem. */
export function scratchDirectory(t: TestContext, inside = os.tmpdir()): string {
  const directory = mkdtempSync(path.join(inside, "pinless-test-"));
  undoing(t, () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A pipe with a name, in a directory of its own. */
export function namedPipe(t: TestContext): string {
  const pipe = path.join(scratchDirectory(t), "pipe");
  execFileSync("mkfifo", [pipe]);
  return pipe;
}
