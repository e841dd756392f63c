/**
 * Lets operators look at this thread's engines and take their pins away: one socket for a JavaScript thread, there as long as it has an
 * engine. Nothing here keeps the process alive. It answers when the event loop is free.
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

/** What is done to an engine. */
export interface Operated {
  stats(): EngineStats;
  releasePins(): Promise<Released>;
}

const engines = new Map<number, Operated>();
let nextEngine = 0;
let opening: Promise<string | null> | null = null;
let server: Server | null = null;
const connections = new Set<Socket>();

/** Call it with every engine that was opened. Resolves with null, or with why operators won't reach it. */
export function addEngine(engine: Operated): Promise<string | null> {
  engines.set(nextEngine++, engine);
  // Whatever is wrong with it, the engine is none the worse.
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
  // This removes its file, too.
  server.close();
  server = null;
  try {
    rmdirSync(directory);
  } catch {
    // Others are still there.
  }
}

async function open(): Promise<string | null> {
  const directory = runtimeDirectory();
  const own = socketPath(directory, threadId);
  for (let attempt = 1; ; attempt++) {
    const untrusted = prepareDirectory(directory);
    if (untrusted !== null) return refusal(untrusted);
    try {
      server = await listen(own);
      // process.exit() closes no handles, and so would leave the socket's file behind, as a crash does.
      process.once("exit", close);
      break;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // One who had this number before died without cleaning up; or the last one to leave has just removed the directory.
      const again = code === "EADDRINUSE" ? await removeIfDead(own) : code === "ENOENT";
      if (!again || attempt === 5) return refusal(message);
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
    // Exclusive: a worker of node:cluster would leave it to its parent.
    listening.listen({ path: at, exclusive: true }, () => {
      listening.off("error", reject).on("error", () => {});
      listening.unref();
      resolve(listening);
    });
  });
}

/** Removes what processes that were killed have left behind. Nobody waits for it, and it's tried again with the next engine. */
async function removeDead(directory: string): Promise<void> {
  try {
    // In this order: what is there and alive was bound before.
    const there = socketsIn(directory);
    const bound = new Set(boundSockets("self").map(({ path }) => path));
    for (const { path } of there) if (!bound.has(path)) await removeIfDead(path);
  } catch {
    // The directory is gone.
  }
}

/** Nobody listens, says the kernel: a process number would say nothing across containers. */
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
  // Whoever hasn't asked for longest makes room: nobody can keep operators out by connecting.
  const [first] = connections;
  if (connections.size >= MAX_CONNECTIONS) first?.destroy();
  connections.add(socket);
  socket.on("close", () => connections.delete(socket));
  // Whoever asked has gone.
  socket.on("error", () => {});
  converse(socket, (line) => {
    if (connections.delete(socket)) connections.add(socket);
    return answer(line);
  });
}

/** The directory's rights have seen to it already; this holds if somebody changes them afterwards. */
function isAllowed(socket: Socket): boolean {
  const peer = peerOfSocket(socket);
  return peer === null || peer.uid === 0 || peer.uid === process.geteuid!();
}

async function answer(line: string): Promise<StatsAnswer | ReleaseAnswer | Refusal> {
  try {
    const { ask } = JSON.parse(line) as Question;
    if (ask === "stats") return { engines: [...engines].map(([engine, each]) => ({ engine, ...each.stats() })) };
    if (ask === "release") return { engines: await Promise.all([...engines].map(release)) };
    return { error: `this version of pinless knows no "${ask}"` };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

async function release([engine, each]: [number, Operated]): Promise<ReleaseAnswer["engines"][number]> {
  const { scheme, pin } = each.stats();
  return { engine, scheme, pin, ...(await each.releasePins()) };
}
