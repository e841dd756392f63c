/**
 * The control socket of a JavaScript thread, for `pinless top` and `pinless release`: open as long as the thread has an
 * engine. It doesn't keep the process alive, and answers when the event loop is free.
 */

import { rmdirSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { threadId } from "node:worker_threads";
import type { EngineStats, Released } from "../ports/stats.js";
import type { Question, Refusal, ReleaseAnswer, StatsAnswer } from "./control-protocol.js";
import { converse } from "./conversation.js";
import { peerOfSocket } from "./peer.js";
import { boundSockets, prepareDirectory, runtimeDirectory, socketPath, socketsIn } from "./socket-paths.js";

const MAX_CONNECTIONS = 32;

/** Each attempt can meet another process that leaves at that moment; many in a row do so only if more is wrong. */
const OPEN_ATTEMPTS = 20;

/** The operations on an engine. */
export interface Operated {
  stats(): EngineStats;
  releasePins(): Promise<Released>;
}

const engines = new Map<number, Operated>();
let nextEngine = 0;
let opening: Promise<string | null> | null = null;
let server: Server | null = null;
const connections = new Set<Socket>();

/**
 * Adds an engine, and opens the socket for the first. Resolves to null, or to the reason why operators can't reach it.
 */
export function addEngine(engine: Operated): Promise<string | null> {
  engines.set(nextEngine++, engine);
  // A failure doesn't concern the engine's own work.
  opening ??= open().catch((error: Error) => refusal(error.message));
  return opening;
}

export function removeEngine(engine: Operated): void {
  for (const [id, each] of engines) if (each === engine) engines.delete(id);
  if (engines.size > 0) return;
  opening = null;
  close();
  for (const socket of connections) socket.end();
}

function close(): void {
  if (server === null) return;
  process.off("exit", close);
  const directory = dirname(server.address() as string);
  // This removes its file too.
  server.close();
  server = null;
  try {
    rmdirSync(directory);
  } catch {
    // Other sockets are still in the directory.
  }
}

async function open(): Promise<string | null> {
  const directory = runtimeDirectory();
  const own = socketPath(directory, threadId);
  for (let attempt = 1; ; attempt++) {
    try {
      const unsafe = prepareDirectory(directory);
      if (unsafe !== null) return refusal(unsafe);
      server = await listen(own);
      // process.exit() closes no handles, and would leave the socket's file behind as a crash does.
      process.once("exit", close);
      break;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // A process with the same pid died without removing its socket; or the last process to leave has just removed the
      // directory. libuv reports bind(2)'s ENOENT as EACCES.
      const again = code === "EADDRINUSE" ? await removeIfDead(own) : code === "ENOENT" || code === "EACCES";
      if (!again || attempt === OPEN_ATTEMPTS) return refusal(message);
    }
  }
  void removeDead(directory);
  return null;
}

function refusal(why: string): string {
  return `operators can't reach this engine (pinless top, pinless release): ${why}`;
}

function listen(at: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const listening = createServer(serve);
    listening.once("error", reject);
    // Without `exclusive`, a worker of node:cluster would have its parent listen.
    listening.listen({ path: at, exclusive: true }, () => {
      listening.off("error", reject).on("error", () => {});
      listening.unref();
      resolve(listening);
    });
  });
}

/**
 * Removes sockets that killed processes have left behind. It runs in the background, and again with the next engine.
 */
async function removeDead(directory: string): Promise<void> {
  try {
    // The directory is read first: a socket that is in it and alive was bound before.
    const there = socketsIn(directory);
    const bound = new Set(boundSockets("self").map(({ path }) => path));
    for (const { path } of there) if (!bound.has(path)) await removeIfDead(path);
  } catch {
    // The directory was removed meanwhile.
  }
}

/** Removes a socket that refuses connections. A check by pid wouldn't do: pids aren't unique across containers. */
async function removeIfDead(at: string): Promise<boolean> {
  const isDead = await new Promise<boolean>((resolve) => {
    const socket = connect(at, () => {
      socket.destroy();
      resolve(false);
    });
    socket.unref();
    socket.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code === "ECONNREFUSED"));
  });
  if (isDead) rmSync(at, { force: true });
  return isDead;
}

function serve(socket: Socket): void {
  socket.unref();
  if (!isAllowed(socket)) {
    socket.destroy();
    return;
  }
  // The connection that has been idle longest is closed, so that open connections can't keep operators out.
  const [first] = connections;
  if (connections.size >= MAX_CONNECTIONS) first?.destroy();
  connections.add(socket);
  socket.on("close", () => connections.delete(socket));
  // The client has disconnected.
  socket.on("error", () => {});
  converse(socket, (line) => {
    if (connections.delete(socket)) connections.add(socket);
    return answer(line);
  });
}

/** True if the client may ask. The directory's permissions ensure this already, unless they are changed. */
function isAllowed(socket: Socket): boolean {
  const peer = peerOfSocket(socket);
  return peer === null || peer.uid === 0 || peer.uid === process.geteuid!();
}

async function answer(line: string): Promise<StatsAnswer | ReleaseAnswer | Refusal> {
  try {
    const { ask } = JSON.parse(line) as Question;
    if (ask === "stats") return { engines: [...engines].map(([engine, each]) => ({ engine, ...each.stats() })) };
    if (ask === "release") return { engines: await Promise.all([...engines].map(release)) };
    return { error: `this version of pinless doesn't know the question "${ask}"` };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

async function release([engine, each]: [number, Operated]): Promise<ReleaseAnswer["engines"][number]> {
  const { scheme, pin } = each.stats();
  return { engine, scheme, pin, ...(await each.releasePins()) };
}
