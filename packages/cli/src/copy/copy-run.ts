/** Runs a plan: directories first, then several files at a time, then the directories' attributes. */

import {
  type BigIntStats,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readlinkSync,
  symlinkSync,
} from "node:fs";
import path from "node:path";
import { bytesOf } from "../command/byte-names.js";
import { systemReason } from "../command/failures.js";
import { makeNode } from "./attribute-calls.js";
import { keepAttributes, setOrdinaryAttributes } from "./attributes.js";
import type { CopyEntry } from "./copy-plan.js";
import { CopyError, type CopyHost, copyFile, copyInto, replacing } from "./file-copy.js";

const FILES_AT_ONCE = 8;

export class CopyRun {
  readonly #host: CopyHost;
  readonly #recursive: boolean;
  /** Copies of files that have several names, by the file's number. */
  readonly #linked = new Map<string, Promise<string | null>>();
  /** Directories in which names have changed. */
  readonly #changed = new Set<string>();
  readonly #failed = new Set<string>();

  constructor(host: CopyHost, recursive: boolean) {
    this.#host = host;
    this.#recursive = recursive;
  }

  async run(entries: readonly CopyEntry[]): Promise<void> {
    const directories = entries.filter(({ stat }) => stat.isDirectory());
    for (const each of directories) await this.#attempt(each, () => this.#makeDirectory(each));
    const others = entries.filter(({ stat }) => !stat.isDirectory()).values();
    const runner = async (): Promise<void> => {
      for (let next = others.next(); !next.done; next = others.next()) {
        const entry = next.value;
        await this.#attempt(entry, () => this.#copy(entry));
      }
    };
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, runner));
    for (const each of directories.reverse()) await this.#attempt(each, () => this.#finishDirectory(each));
    for (const directory of this.#changed) this.#syncNames(directory);
  }

  /** Runs a step, unless the run was interrupted; complains about its error. */
  async #attempt(entry: CopyEntry, step: () => void | Promise<void>): Promise<void> {
    if (this.#host.signal.aborted || this.#failed.has(path.dirname(entry.target))) return;
    try {
      await step();
    } catch (error) {
      this.#failed.add(entry.target);
      if (this.#host.signal.aborted) return;
      const reason = error instanceof CopyError ? error.message : systemReason(error);
      const { syscall = "" } = error as NodeJS.ErrnoException;
      this.#host.complain(`${entry.source} to ${entry.target}: ${reason}${syscall === "" ? "" : `, ${syscall}`}`);
    }
  }

  #makeDirectory({ target, replaced }: CopyEntry): void {
    if (replaced === null) mkdirSync(bytesOf(target), 0o700);
    if (replaced === null) this.#changed.add(path.dirname(target));
  }

  #finishDirectory({ source, target, stat, replaced }: CopyEntry): void {
    if (this.#failed.has(target)) return;
    // It's opened before it gets its mode, which may forbid that.
    syncDirectory(target, () => {
      if (replaced === null) setOrdinaryAttributes(target, stat, null);
      if (this.#host.options.preserve) keepAttributes(source, stat, target);
    });
    this.#changed.delete(target);
  }

  #syncNames(directory: string): void {
    try {
      syncDirectory(directory);
    } catch (error) {
      this.#host.complain(`${directory}: its new names may not be on the device yet: ${systemReason(error)}`);
    }
  }

  async #copy(entry: CopyEntry): Promise<void> {
    const { stat, target, replaced } = entry;
    const isSpecial = !stat.isFile() && !stat.isSymbolicLink();
    const isWritable = replaced !== null && !replaced.isFile() && !replaced.isSymbolicLink();
    // With -r a device is copied as one, otherwise what it reads as.
    if (isWritable && !(isSpecial && this.#recursive)) return copyInto(this.#host, entry);
    this.#changed.add(path.dirname(target));
    if (stat.isSymbolicLink() || (isSpecial && this.#recursive)) return this.#copyNode(entry);
    if (!this.#recursive || stat.nlink === 1n) return copyFile(this.#host, entry);
    return this.#copyLinked(entry, `${stat.dev}:${stat.ino}`);
  }

  /** Copies a file that has several names: the first one, to which the others become links. */
  async #copyLinked(entry: CopyEntry, file: string): Promise<void> {
    // Between the look and the note nothing else may run: two would both be the first.
    const earlier = this.#linked.get(file);
    const first = earlier === undefined ? null : await earlier;
    if (first !== null) {
      await replacing(entry.target, (temporary) => linkSync(bytesOf(first), bytesOf(temporary)));
      return this.#host.copied(Number(entry.stat.size));
    }
    const copied = copyFile(this.#host, entry);
    const made = copied.then(
      () => entry.target,
      () => null,
    );
    this.#linked.set(file, made);
    await copied;
  }

  #copyNode({ source, target, stat }: CopyEntry): Promise<void> {
    return replacing(target, (temporary) => {
      if (stat.isSymbolicLink()) symlinkSync(readlinkSync(bytesOf(source), { encoding: "buffer" }), bytesOf(temporary));
      else makeSpecial(temporary, stat);
      if (this.#host.options.preserve) keepAttributes(source, stat, temporary);
    });
  }
}

function makeSpecial(file: string, stat: BigIntStats): void {
  makeNode(file, Number(stat.mode) & ~process.umask(), stat.rdev);
}

/** Brings a directory to the device, with what `change` changes. */
function syncDirectory(directory: string, change = (): void => {}): void {
  const fd = openSync(bytesOf(directory), "r");
  try {
    change();
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
