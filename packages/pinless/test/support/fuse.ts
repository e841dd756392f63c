/** A filesystem in user space that answers when a test says so. Root only. */

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { needsRoot } from "./disks.js";
import { scratchDirectory, undoing, undoingByShell } from "./undo.js";
import { until } from "./until.js";

const source = path.resolve(import.meta.dirname, "../../test/support/fuse.c");

/** For a test's `skip`. */
export const needsFuse: string | false =
  needsRoot ||
  (!existsSync("/dev/fuse")
    ? "machine: no /dev/fuse"
    : spawnSync("cc", ["--version"]).error !== undefined
      ? "machine: no C compiler"
      : false);

export type FuseRequest =
  | "getattr"
  | "open"
  | "read"
  | "write"
  | "statfs"
  | "flush"
  | "release"
  | "fsync"
  | "setattr"
  | "poll";

export interface Fuse {
  /** The only file. */
  readonly file: string;
  /** Path of the file that holds its bytes. */
  readonly backing: string;
  /** Such requests aren't answered from now on, all others are. */
  hold(...requests: readonly FuseRequest[]): Promise<void>;
  /** Answers what is held now. */
  go(): void;
  /** Requests that were ever held. */
  readonly held: number;
  /** The last requests before the filesystem gave up waiting for the test, which stood still; null if it never did. */
  readonly impatient: string | null;
}

/**
 * Mounts it. `options`: "refuse-direct": files can be opened with O_DIRECT, and then refuse I/O. "refuse-locks":
 * it says that it has locks, and refuses them. "async-dio": the kernel may send direct I/O without waiting.
 */
export async function fuse(
  t: TestContext,
  content: Uint8Array,
  ...options: readonly ("refuse-direct" | "refuse-locks" | "async-dio")[]
): Promise<Fuse> {
  const directory = scratchDirectory(t);
  const [program, at, backing] = ["fuse", "mount", "backing"].map((name) => path.join(directory, name)) as [
    string,
    string,
    string,
  ];
  execFileSync("cc", ["-O2", "-Wall", "-o", program, source]);
  mkdirSync(at);
  writeFileSync(backing, content);
  undoingByShell(t, `! mountpoint -q '${at}' || umount -l '${at}'`);
  const server = spawn(program, [at, backing, ...options], { stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  server.stdout.setEncoding("utf8").on("data", (text) => {
    said += text;
  });
  const count = (line: RegExp): number => said.match(line)?.length ?? 0;
  undoing(t, async () => {
    server.stdin.end();
    await until("the end of the filesystem", () => server.exitCode !== null || server.signalCode !== null);
  });
  await until("the filesystem", () => count(/^mounted$/gm) === 1);
  return {
    file: path.join(at, "file"),
    backing,
    async hold(...requests) {
      const before = count(/^holding$/gm);
      server.stdin.write(`hold ${requests.join(" ")}\n`);
      await until("the filesystem's answer", () => count(/^holding$/gm) > before);
    },
    go: () => void server.stdin.write("go\n"),
    get held() {
      return count(/^held /gm);
    },
    get impatient() {
      return /(?:^.*\n){0,9}^impatient$/m.exec(said)?.[0] ?? null;
    },
  };
}
