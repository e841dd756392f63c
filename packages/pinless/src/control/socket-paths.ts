/**
 * Paths of the control sockets: PID-THREADID.sock in a directory that only its user and root can access. File names
 * prove nothing: a client asks the kernel which process listens.
 */

import { accessSync, constants, lstatSync, mkdirSync, readdirSync, readFileSync, type Stats } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { threadId } from "node:worker_threads";

export interface SocketPath {
  /** The pid in the process's own namespace. */
  readonly pid: number;
  readonly thread: number;
  readonly path: string;
}

const MODE = 0o700;

/** Maximum length of a socket's path: sun_path has 108 bytes with its terminating 0, and Node truncates silently. */
const MAX_NAME_BYTES = 107;

export function fitsSocketName(at: string): boolean {
  return Buffer.byteLength(at) <= MAX_NAME_BYTES;
}

/** Directory for the sockets of this user: the first of several in which this thread's path isn't too long. */
export function runtimeDirectory(): string {
  const { XDG_RUNTIME_DIR } = process.env;
  const uid = process.geteuid!();
  const directories = [path.join(tmpdir(), `pinless-${uid}`), `/tmp/pinless-${uid}`];
  if (uid === 0 && isWritable("/run")) directories.unshift("/run/pinless");
  // It may be another user's (after su), removed with its session, or not writable (/run for root of a user namespace).
  if (XDG_RUNTIME_DIR !== undefined && path.isAbsolute(XDG_RUNTIME_DIR) && isWritable(XDG_RUNTIME_DIR))
    directories.unshift(path.join(XDG_RUNTIME_DIR, "pinless"));
  return directories.find((directory) => fitsSocketName(socketPath(directory, threadId)))!;
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * Creates the directory if necessary. Returns null, or the reason why it isn't safe to use.
 *
 * @throws The error of mkdir(2); ENOENT if the last process to leave has removed the directory meanwhile
 */
export function prepareDirectory(directory: string): string | null {
  try {
    mkdirSync(directory, { mode: MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
  return whyUnsafe(directory, lstatSync(directory), [process.geteuid!()]);
}

/** Returns null, or the reason why other users could have put something into the directory. */
export function whyUntrusted(directory: string, uids: readonly number[]): string | null {
  try {
    return whyUnsafe(directory, lstatSync(directory), uids);
  } catch (error) {
    return (error as Error).message;
  }
}

function whyUnsafe(directory: string, stat: Stats, uids: readonly number[]): string | null {
  if (stat.isSymbolicLink()) return `${directory} is a symbolic link`;
  if (!stat.isDirectory()) return `${directory} isn't a directory`;
  if (!uids.includes(stat.uid))
    return `${directory} belongs to user ${stat.uid}, not to ${[...new Set(uids)].join(" or ")}`;
  const mode = stat.mode & 0o777;
  if (mode !== MODE)
    return `${directory} has mode 0${mode.toString(8)}: change it to 0700, so that no other user can reach it`;
  return null;
}

export function socketPath(directory: string, thread: number): string {
  return path.join(directory, `${process.pid}-${thread}.sock`);
}

/** Bound sockets, listening or not, in the network namespace of a process; none if it has ended. */
export function boundSockets(pid: number | "self"): SocketPath[] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/unix`, "utf8");
  } catch {
    return [];
  }
  const found = new Map<string, SocketPath>();
  // Fields are Num RefCount Protocol Flags Type St Inode Path; an accepted socket has the path of its listener.
  for (const [, at] of text.matchAll(/^(?:\S+ +){7}(\/.+)$/gm)) {
    const socketPath = socketPathOf(at!);
    if (socketPath !== null) found.set(socketPath.path, socketPath);
  }
  return [...found.values()];
}

/** Sockets in a directory, including those of dead processes. */
export function socketsIn(directory: string): SocketPath[] {
  return readdirSync(directory).flatMap((name) => socketPathOf(path.join(directory, name)) ?? []);
}

function socketPathOf(socket: string): SocketPath | null {
  const match = /\/pinless(?:-\d+)?\/(\d{1,10})-(\d{1,10})\.sock$/.exec(socket);
  return match === null ? null : { pid: Number(match[1]), thread: Number(match[2]), path: socket };
}
