/** Client of the control socket: finds a process's sockets, verifies their owner, and asks. */

import { closeSync, constants, existsSync, lstatSync, openSync, readFileSync, readlinkSync } from "node:fs";
import { connect, type Socket } from "node:net";
import path from "node:path";
import {
  boundSockets,
  fitsSocketName,
  loadLibc,
  peerOfSocket,
  type Question,
  type ReleaseAnswer,
  runtimeDirectory,
  type SocketPath,
  type StatsAnswer,
  splitLines,
  whyUntrusted,
} from "pinless/internal";
import { BadAnswer, readReleased, readStats, refusalOf } from "./answers.js";

export type { ReleaseAnswer, SocketPath, StatsAnswer } from "pinless/internal";

/** Maximum length of an answer: more than the figures of all the engines of a thread. */
const MAX_ANSWER = 1 << 20;

/** Reason why a process can't be reached. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
  readonly code: "ESRCH" | "EACCES" | "ENOENT" | "ETIMEDOUT" | "EPROTO";

  constructor(code: Unreachable["code"], message: string) {
    super(message);
    this.code = code;
  }
}

interface ProcessFacts {
  readonly uid: number;
  /** Its pid in its own namespace. */
  readonly ownPid: number;
}

/** Facts about a process; null if there is none, or it's a zombie. */
function factsOf(pid: number): ProcessFacts | null {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return null;
  }
  const field = (name: string): string[] => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1]?.split(/\s+/) ?? [];
  if (field("State")[0] === "Z" || Number(field("Tgid")[0]) !== pid) return null;
  return { uid: Number(field("Uid")[1]), ownPid: Number(field("NSpid").at(-1) ?? pid) };
}

/** Sockets of a process, one for each thread with engines. Throws `Unreachable`. */
export function socketsOf(pid: number): SocketPath[] {
  const facts = factsOf(pid);
  if (facts === null) throw new Unreachable("ESRCH", "no such process");
  const { uid, ownPid } = facts;
  const me = process.geteuid!();
  if (me !== 0 && uid !== me)
    throw new Unreachable("EACCES", `belongs to user ${uid}, and you are user ${me}: ask as its user or as root`);
  // Anyone can bind a socket with such a name; genuine ones are in a directory of the process's user, or of this user
  // if the process has dropped its rights.
  const socketPaths = boundSockets(pid)
    .filter((socketPath) => socketPath.pid === ownPid)
    .map((socketPath) => ({ ...socketPath, path: fromHere(pid, socketPath.path) }))
    .filter((socketPath) => [uid, me].includes(ownerOf(path.dirname(socketPath.path))));
  for (const socketPath of socketPaths) {
    const why = whyUntrusted(path.dirname(socketPath.path), [uid, me]);
    if (why !== null) throw new Unreachable("EACCES", why);
  }
  if (socketPaths.length > 0) return socketPaths;
  // The process refuses to listen in a directory that others can write to.
  const own = uid === me && existsSync(runtimeDirectory()) ? whyUntrusted(runtimeDirectory(), [me]) : null;
  if (own !== null) throw new Unreachable("EACCES", own);
  throw new Unreachable("ENOENT", "isn't a pinless process, or has no engine open");
}

function ownerOf(directory: string): number {
  try {
    return lstatSync(directory).uid;
  } catch {
    // It was removed, or its directory isn't accessible.
    return -1;
  }
}

/** Path in another mount namespace, such as a container's, or a service's with a private /tmp. */
function fromHere(pid: number, at: string): string {
  try {
    const elsewhere = readlinkSync(`/proc/${pid}/ns/mnt`) !== readlinkSync("/proc/self/ns/mnt");
    return elsewhere ? `/proc/${pid}/root${at}` : at;
  } catch {
    return at;
  }
}

/** Processes with a socket that this user can reach. */
export function reachableProcesses(): number[] {
  const me = process.geteuid!();
  const pids = [...new Set(boundSockets("self").map(({ pid }) => pid))];
  return pids.filter((pid) => {
    const uid = factsOf(pid)?.uid;
    return uid !== undefined && (me === 0 || uid === me);
  });
}

export class Connection {
  readonly socketPath: SocketPath;
  readonly #socket: Socket;
  readonly #waiting: { resolve: (answer: unknown) => void; reject: (error: Error) => void }[] = [];
  #ended: Unreachable | null = null;

  private constructor(socketPath: SocketPath, socket: Socket) {
    this.socketPath = socketPath;
    this.#socket = socket;
    const take = splitLines(MAX_ANSWER, (line) => {
      const answer: unknown = JSON.parse(line);
      if (this.#waiting.length === 0) throw new BadAnswer("it came without a question");
      this.#waiting.shift()!.resolve(answer);
    });
    socket.setEncoding("utf8").on("data", (text: string) => {
      try {
        take(text);
      } catch (error) {
        this.#misunderstood(error as Error);
      }
    });
    socket.on("error", () => {});
    socket.on("close", () => this.#end(new Unreachable("ESRCH", "closed its last engine, or ended")));
  }

  /** Connects. `pid` must be the socket's owner according to the kernel. Rejects with `Unreachable`. */
  static async open(socketPath: SocketPath, pid: number): Promise<Connection> {
    await loadLibc();
    const socket = await connected(socketPath.path);
    const peer = peerOfSocket(socket);
    if (peer?.pid !== pid) {
      socket.destroy();
      throw new Unreachable("EACCES", `${socketPath.path} belongs to process ${peer?.pid}`);
    }
    return new Connection(socketPath, socket);
  }

  get isOpen(): boolean {
    return this.#ended === null;
  }

  stats(): Promise<StatsAnswer> {
    return this.#ask({ ask: "stats" }, readStats);
  }

  release(): Promise<ReleaseAnswer> {
    return this.#ask({ ask: "release" }, readReleased);
  }

  async #ask<T>(question: Question, read: (answer: unknown) => T): Promise<T> {
    if (this.#ended !== null) throw this.#ended;
    this.#socket.write(`${JSON.stringify(question)}\n`);
    const answer = await new Promise<unknown>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    try {
      const refusal = refusalOf(answer);
      if (refusal === null) return read(answer);
      throw new Unreachable("EPROTO", refusal);
    } catch (error) {
      if (error instanceof BadAnswer) throw this.#misunderstood(error);
      throw error;
    }
  }

  /** Gives up on a peer that doesn't speak the protocol. */
  #misunderstood({ message }: Error): Unreachable {
    const why = new Unreachable("EPROTO", `gave an answer that can't be understood: ${message}`);
    this.#end(why);
    return why;
  }

  #end(why: Unreachable): void {
    this.#ended ??= why;
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(this.#ended);
  }

  close(): void {
    this.#end(new Unreachable("ESRCH", "the connection was closed"));
  }
}

/**
 * Connects to a path. A path longer than a socket's name (because it begins with another mount namespace's root) is
 * reached through its directory.
 */
async function connected(at: string): Promise<Socket> {
  const directory = fitsSocketName(at) ? null : openSync(path.dirname(at), constants.O_RDONLY | constants.O_DIRECTORY);
  const name = directory === null ? at : `/proc/self/fd/${directory}/${path.basename(at)}`;
  try {
    return await new Promise<Socket>((resolve, reject) => {
      const connecting = connect(name, () => {
        connecting.off("error", reject);
        resolve(connecting);
      });
      connecting.once("error", reject);
    });
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "EACCES") throw new Unreachable("EACCES", message);
    if (["ENOENT", "ECONNREFUSED"].includes(code)) throw new Unreachable("ENOENT", message);
    throw new Unreachable("ETIMEDOUT", `its socket doesn't accept connections now: ${message}`);
  } finally {
    if (directory !== null) closeSync(directory);
  }
}

/**
 * Rejects after `ms`; the process does what it was asked later, when its event loop is free. `seconds` is the total for
 * the message.
 */
export async function within<T>(ms: number, seconds: number, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `no answer within ${seconds} s: its event loop is busy, and it will answer when that's free`;
    timer = setTimeout(() => reject(new Unreachable("ETIMEDOUT", message)), ms);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}
