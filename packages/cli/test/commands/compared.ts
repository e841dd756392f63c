/** Runs a command of pinless, and one of coreutils to compare it with. Names and output are bytes, as latin1 text. */

import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import path from "node:path";

export const MAIN = path.resolve(import.meta.dirname, "../../dist/main.js");

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program by way of a shell: Node can't pass arguments that aren't UTF-8. */
export function coreutils(args: readonly string[], cwd: string, input = ""): Outcome {
  const hex = (character: string): string => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  const words = args.map((arg) => `$'${arg.replace(/[^\w./-]/g, hex)}'`);
  const { status, stdout, stderr } = spawnSync("bash", ["-c", `exec ${words.join(" ")}`], {
    cwd,
    env: { ...process.env, LC_ALL: "C.UTF-8" },
    input: Buffer.from(input, "latin1"),
    encoding: "latin1",
    maxBuffer: 64 << 20,
  });
  return { code: status, stdout, stderr };
}

export function pinless(args: readonly string[], cwd: string, input?: string): Outcome {
  return coreutils([process.execPath, MAIN, ...args], cwd, input);
}

/** Asserts that pinless sum and sha256sum have the same standard output and exit code; returns the output. */
export function sameSums(args: readonly string[], cwd: string, input?: string): string {
  const ours = pinless(["sum", ...args], cwd, input);
  const theirs = coreutils(["sha256sum", ...args], cwd, input);
  assert.deepEqual([ours.code, ours.stdout], [theirs.code, theirs.stdout], `${args.join(" ")}: ${ours.stderr}`);
  // Of the messages those of lists are the same, except for the program's name.
  const warnings = (text: string): string[] =>
    text
      .split("\n")
      .filter((line) => /WARNING|properly|verified/.test(line))
      .map((line) =>
        line.replace(/^[^:]*: /, "").replace("formatted SHA256 checksum lines f", "formatted checksum lines f"),
      );
  assert.deepEqual(warnings(ours.stderr), warnings(theirs.stderr));
  return ours.stdout;
}

export const cp = (args: readonly string[], cwd: string): Outcome => pinless(["cp", ...args], cwd);

/** Asserts that pinless cp succeeds without a message. */
export function copies(args: readonly string[], cwd: string): void {
  assert.deepEqual(cp(args, cwd), { code: 0, stdout: "", stderr: "" });
}

export function shell(script: string, cwd: string): string {
  return execFileSync("bash", ["-c", script], { cwd, encoding: "latin1", env: { ...process.env, LC_ALL: "C" } });
}

/** Lists a tree: types, numbers of links, sizes, modes, owners, names, links, blocks, and maybe times. */
export function listing(directory: string, times = ""): string {
  return shell(
    `find . -printf '%y %n %s %m %u %g ${times} %P %l\\n' | sort; find . -type f -printf '%b %P\\n' | sort`,
    directory,
  );
}
