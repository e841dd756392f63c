/** Plan of a copy: what goes where, found before anything is written. */

import { type BigIntStats, lstatSync, readdirSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { bytesOf, nameOf } from "../command/byte-names.js";
import { systemReason, UsageError } from "../command/failures.js";

export interface CopyEntry {
  readonly source: string;
  /** The target; through symbolic links if it's a file that is there. */
  readonly target: string;
  readonly stat: BigIntStats;
  /** The file that is replaced, or the device or FIFO that is written to; null if there is none. */
  readonly replaced: BigIntStats | null;
}

export class CopyPlan {
  readonly entries: CopyEntry[] = [];
  readonly #recursive: boolean;
  readonly #complain: (message: string) => void;
  readonly #targets = new Set<string>();

  /** Entries that can't be copied are complained about, and left out. */
  constructor(recursive: boolean, complain: (message: string) => void) {
    this.#recursive = recursive;
    this.#complain = complain;
  }

  /** Adds what sources have. Throws `UsageError` for a destination that doesn't fit. */
  add(sources: readonly string[], destination: string): void {
    const isDirectory = statOf(destination)?.isDirectory() === true;
    if (!isDirectory && (sources.length > 1 || destination.endsWith("/")) && !(sources.length === 1 && this.#recursive))
      throw new UsageError(`${destination} isn't a directory: give one as the last argument`);
    for (const source of sources) {
      const base = path.basename(source);
      const isInside = isDirectory && base !== ".." && base !== "." && base !== "";
      this.#attempt(source, () => this.#add(source, isInside ? inside(destination, base) : destination));
    }
  }

  #attempt(source: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#complain(error instanceof UsageError ? error.message : `${source}: ${systemReason(error)}`);
    }
  }

  #add(source: string, target: string): void {
    // With -r a symbolic link is copied, otherwise the file that it leads to.
    const stat = (this.#recursive ? lstatSync : statSync)(bytesOf(source), { bigint: true });
    const link = lstatOf(target);
    const there = link?.isSymbolicLink() === true && !stat.isSymbolicLink() ? statOf(target) : link;
    if (this.#targets.has(target)) throw new UsageError(`${source}: ${target} was just written, and isn't replaced`);
    if (there !== null && there.dev === stat.dev && there.ino === stat.ino)
      throw new UsageError(`${source} and ${target} are the same file`);
    if (stat.isDirectory()) {
      this.#addDirectory(source, target, stat, there);
      return;
    }
    if (there?.isDirectory() === true) throw new UsageError(`${source}: ${target} is a directory, and isn't replaced`);
    if (there === null && link !== null)
      throw new UsageError(`${source}: ${target} is a symbolic link to a file that isn't there`);
    this.#targets.add(target);
    const real = there !== null && there !== link ? realPath(target) : target;
    this.entries.push({ source, target: real, stat, replaced: there });
  }

  #addDirectory(source: string, target: string, stat: BigIntStats, there: BigIntStats | null): void {
    if (!this.#recursive) throw new UsageError(`${source} is a directory: give -r to copy it`);
    if (there !== null && !there.isDirectory())
      throw new UsageError(`${source} is a directory, and ${target} isn't: remove one of them`);
    if (isWithin(target, stat)) throw new UsageError(`${source} can't be copied into itself, ${target}`);
    this.#targets.add(target);
    this.entries.push({ source, target, stat, replaced: there });
    for (const name of readdirSync(bytesOf(source), { encoding: "buffer" }).map(nameOf)) {
      const each = inside(source, name);
      this.#attempt(each, () => this.#add(each, inside(target, name)));
    }
  }
}

/** True if a path that may not be there yet is below a directory. */
function isWithin(target: string, { dev, ino }: BigIntStats): boolean {
  let at = path.dirname(path.resolve(target));
  while (statOf(at) === null) at = path.dirname(at);
  for (at = realPath(at); ; at = path.dirname(at)) {
    const stat = statOf(at);
    if (stat?.dev === dev && stat.ino === ino) return true;
    if (at === "/") return false;
  }
}

function inside(directory: string, name: string): string {
  return directory.endsWith("/") ? `${directory}${name}` : `${directory}/${name}`;
}

function realPath(file: string): string {
  return nameOf(realpathSync.native(bytesOf(file), { encoding: "buffer" }));
}

function statOf(file: string): BigIntStats | null {
  return existing(() => statSync(bytesOf(file), { bigint: true }));
}

function lstatOf(file: string): BigIntStats | null {
  return existing(() => lstatSync(bytesOf(file), { bigint: true }));
}

function existing(stat: () => BigIntStats): BigIntStats | null {
  try {
    return stat();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}
