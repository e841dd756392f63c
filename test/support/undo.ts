/** What a test makes on the machine, undone when it ends, in the opposite order: also when it fails, also when the process dies. */

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
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
 * A shell that runs `command` when the test ends, or when this process does, however it does: it waits on a pipe from us.
 * Detached, so that a Ctrl-C doesn't end it first.
 */
export function undoingByShell(t: TestContext, command: string): void {
  const shell = spawn("sh", ["-c", `read -r _; ${command}`], { detached: true, stdio: ["pipe", "ignore", "pipe"] });
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
    if (code !== 0) throw new Error(`${command}: exit ${code}: ${said}`);
  });
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
