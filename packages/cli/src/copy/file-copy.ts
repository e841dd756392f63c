/** Copy of a file under a temporary name beside its target, which it replaces when it's whole and on the device. */

import { randomBytes } from "node:crypto";
import { type BigIntStats, constants, copyFileSync } from "node:fs";
import { rename, unlink } from "node:fs/promises";
import path from "node:path";
import type { Engine, File } from "pinless";
import { bytesOf } from "../command/byte-names.js";
import { goesThroughCache } from "../command/cached-files.js";
import { keepAttributes, setOrdinaryAttributes } from "./attributes.js";
import type { CopyEntry } from "./copy-plan.js";
import { BLOCK_BYTES, dataOf, type FileData } from "./file-data.js";

export type Reflink = "auto" | "always" | "never";

export interface CopyOptions {
  readonly preserve: boolean;
  readonly reflink: Reflink;
  readonly verify: boolean;
}

/** The command as a copy of a file sees it. */
export interface CopyHost {
  readonly engine: Engine;
  readonly data: FileData;
  readonly signal: AbortSignal;
  readonly options: CopyOptions;
  /** Complains about a copy that is kept all the same. */
  complain(message: string): void;
  /** Notes bytes that were copied in another way than by `data`. */
  copied(bytes: number): void;
  /** Notes a file that was read or written through the page cache. */
  cached(name: string): void;
}

/** An error of the copy itself, whose message is for the user. */
export class CopyError extends Error {}

/** Puts something under the name of the target by way of a temporary name; `make` makes it there. */
export async function replacing(target: string, make: (temporary: string) => void | Promise<void>): Promise<void> {
  const temporary = `${path.dirname(target)}/.pinless-cp-${randomBytes(8).toString("hex")}`;
  try {
    await make(temporary);
    await rename(bytesOf(temporary), bytesOf(target));
  } finally {
    // After a rename there is nothing of that name, unless both were links to the same file.
    await unlink(bytesOf(temporary)).catch(() => {});
  }
}

/** Copies a regular file, or what can be read as one, to a new file. */
export function copyFile(host: CopyHost, entry: CopyEntry): Promise<void> {
  return withSource(host, entry, (from, before) =>
    replacing(entry.target, async (temporary) => {
      const isClone = clone(host.options.reflink, entry.source, before, temporary);
      const to = await host.engine.openFile(bytesOf(temporary), isClone ? "r+" : "wx+", 0o600);
      try {
        const size = Number(before.size);
        const parts = await dataOf(from, size);
        if (isClone) host.copied(size);
        else if (parts === null) await copyStream(host, from, to);
        else {
          await allocate(to, size, parts);
          await host.data.copy(from, to, parts);
          await to.truncate(size);
        }
        await to.sync();
        if (host.options.verify) await verify(host, entry, from, to, parts);
        setAttributes(host, entry, before, temporary);
        await to.sync();
        if (goesThroughCache(to, { ...fileStat, size })) host.cached(entry.target);
      } finally {
        await to.close();
      }
    }),
  );
}

const fileStat = { isBlockDevice: () => false, isFile: () => true };

/** Writes what a source has to a device or a FIFO that is there. */
export function copyInto(host: CopyHost, entry: CopyEntry): Promise<void> {
  return withSource(host, entry, async (from) => {
    const to = await host.engine.openFile(bytesOf(entry.target), "r+").catch(() => null);
    const file = to ?? (await host.engine.openFile(bytesOf(entry.target), constants.O_WRONLY));
    try {
      await copyStream(host, from, file);
    } finally {
      await file.close();
    }
  });
}

/** Opens the source, and complains if it changed meanwhile. */
async function withSource(
  host: CopyHost,
  { source, stat }: CopyEntry,
  work: (from: File, before: BigIntStats) => Promise<void>,
): Promise<void> {
  const from = await host.engine.openFile(bytesOf(source), "r");
  try {
    const before = await statOf(from);
    if (before.dev !== stat.dev || before.ino !== stat.ino) throw new CopyError("another file has taken its place");
    await work(from, before);
    const after = await statOf(from);
    const isSame = after.size === before.size && after.mtimeNs === before.mtimeNs;
    if (before.isFile() && !isSame) host.complain(`${source}: changed while it was copied`);
    if (goesThroughCache(from, before)) host.cached(source);
  } finally {
    await from.close();
  }
}

async function statOf(file: File): Promise<BigIntStats> {
  return file.stat({ bigint: true });
}

/** Makes a clone, which shares the source's blocks; false if there is none. */
function clone(reflink: Reflink, source: string, stat: BigIntStats, target: string): boolean {
  if (reflink === "never") return false;
  // A FIFO would be opened a second time, and wait for another writer.
  if (!stat.isFile()) {
    if (reflink === "always") throw new CopyError("isn't a regular file, so it can't be cloned");
    return false;
  }
  try {
    copyFileSync(bytesOf(source), bytesOf(target), constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
    return true;
  } catch (error) {
    if (reflink === "always") throw error;
    return false;
  }
}

/** Gives the copy its size and, where it has data, its space: so a full disk is noticed before anything is copied. */
async function allocate(
  to: File,
  size: number,
  parts: readonly { readonly position: number; readonly bytes: number }[],
): Promise<void> {
  if (size <= BLOCK_BYTES) return;
  await to.truncate(size);
  try {
    for (const { position, bytes } of parts) await to.allocate(position, bytes, { keepSize: true });
  } catch (error) {
    // The filesystem can't allocate. It does so when it's written to.
    if ((error as NodeJS.ErrnoException).code !== "ENOTSUP") throw error;
  }
}

async function copyStream(host: CopyHost, from: File, to: File): Promise<void> {
  for await (const chunk of from.createReadStream({ autoClose: false, signal: host.signal })) {
    await to.write(chunk as Uint8Array);
    host.copied((chunk as Uint8Array).length);
  }
}

async function verify(
  host: CopyHost,
  { target }: CopyEntry,
  from: File,
  to: File,
  parts: Awaited<ReturnType<typeof dataOf>>,
): Promise<void> {
  const { size } = await statOf(to);
  if (parts === null && size === 0n) return;
  if (parts === null) return host.complain(`${target}: not verified, because its source can't be read twice`);
  const written = (await dataOf(to, Number(size))) ?? [];
  // What the source has as data, and what the copy has where the source has a hole.
  const isSame = size === (await statOf(from)).size && (await host.data.isSame(from, to, parts));
  if (!isSame || !(await host.data.isSame(from, to, written)))
    throw new CopyError("what was read back from the copy isn't what the source has");
}

function setAttributes(
  host: CopyHost,
  { source, target, replaced }: CopyEntry,
  before: BigIntStats,
  file: string,
): void {
  setOrdinaryAttributes(file, before, replaced);
  if (!host.options.preserve) return;
  try {
    keepAttributes(source, before, file);
  } catch (error) {
    host.complain(`${target}: not all attributes could be kept: ${(error as Error).message}`);
  }
}
