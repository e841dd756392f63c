/**
 * Name of the engine that runs, for reports: its version and, in a checkout, its commit, so that a seed reproduces a
 * failure.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));

export function engineName(version: string): string {
  const commit = commitOf(ROOT);
  return commit === null ? `pinless ${version}` : `pinless ${version} ${commit}`;
}

/** Commit of a checkout; null if it's none, or its repository is laid out in an unknown way. */
function commitOf(root: string): string | null {
  const git = path.join(root, ".git");
  // In a worktree, .git is a file with the path of the worktree's own git directory.
  const elsewhere = /^gitdir: (.+)$/m.exec(read(git) ?? "")?.[1];
  const own = elsewhere === undefined ? git : path.resolve(root, elsewhere);
  const common = path.resolve(own, read(path.join(own, "commondir"))?.trim() ?? ".");
  const head = read(path.join(own, "HEAD"))?.trim() ?? "";
  const ref = /^ref: (.+)$/.exec(head)?.[1];
  const packed = (): string | undefined =>
    read(path.join(common, "packed-refs"))
      ?.split("\n")
      .find((line) => line.endsWith(` ${ref}`))
      ?.split(" ")[0];
  const commit = ref === undefined ? head : (read(path.join(common, ref))?.trim() ?? packed() ?? "");
  return /^[0-9a-f]{40,64}$/.test(commit) ? commit : null;
}

function read(file: string): string | null {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
