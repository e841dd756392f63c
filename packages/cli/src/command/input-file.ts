/** Reads files given to commands: regular files and shell pipes only, up to a maximum size. */

import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { UsageError } from "./failures.js";

/** Names that a shell gives to its pipes. */
const PIPED = /^\/dev\/(stdin|fd\/\d+)$/;

/** Reads a regular file, or a pipe that a shell has connected, of at most `maxBytes`. Throws `UsageError`. */
export function readInputFile(file: string, maxBytes: number): string {
  let fd: number;
  try {
    // O_NONBLOCK, because opening a FIFO without a writer, or a terminal, would block.
    fd = openSync(file, PIPED.test(file) ? "r" : constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    throw new UsageError(`${file} can't be read: ${reasonOf(error)}`);
  }
  try {
    const stat = fstatSync(fd);
    const kind = kindOf(stat);
    if (kind !== null && !(stat.isFIFO() && PIPED.test(file)))
      throw new UsageError(`${file} is ${kind}: give a text file`);
    const bytes = stat.size > maxBytes ? null : readAtMost(fd, maxBytes);
    if (bytes === null) throw new UsageError(`${file} is too large: at most ${maxBytes / 2 ** 20} MiB are read`);
    return textOf(bytes, file);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${file} can't be read: ${reasonOf(error)}`);
  } finally {
    closeSync(fd);
  }
}

/** Reads up to `maxBytes`; null if there is more. The size in stat isn't used, since files in /proc report 0. */
function readAtMost(fd: number, maxBytes: number): Buffer | null {
  const pieces: Buffer[] = [];
  let length = 0;
  for (;;) {
    const piece = Buffer.allocUnsafe(Math.min(64 << 10, maxBytes + 1 - length));
    const bytes = readSync(fd, piece);
    if (bytes === 0) return Buffer.concat(pieces, length);
    pieces.push(piece.subarray(0, bytes));
    length += bytes;
    if (length > maxBytes) return null;
  }
}

function textOf(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${file} isn't text in UTF-8`);
  }
}

function kindOf(stat: Stats): string | null {
  if (stat.isFile()) return null;
  if (stat.isDirectory()) return "a directory";
  if (stat.isFIFO()) return "a pipe";
  return stat.isSocket() ? "a socket" : "a device";
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there's no such file",
  ENOTDIR: "a part of its path isn't a directory",
  EACCES: "you may not read it",
  EPERM: "you may not read it",
  ELOOP: "its symbolic links lead in a circle",
  ENAMETOOLONG: "its name is too long",
  ENXIO: "it's a socket, or a device that isn't there",
};

function reasonOf(error: unknown): string {
  const { code = "", message } = error as NodeJS.ErrnoException;
  return REASONS[code] === undefined ? message : `${REASONS[code]} (${code})`;
}
