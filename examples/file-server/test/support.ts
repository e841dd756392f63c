/** Servers on loopback, and clients that send whatever they are told to. */

import { mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { optionsOf } from "../src/options.js";
import { FileServer } from "../src/server.js";

export const READERS = ["pinless", "node"] as const;

/** The modification time of files that are made here: long ago, so that their ETags are strong. */
export const MODIFIED = new Date("2024-05-06T07:08:09Z");

export function temporaryFolder(t: TestContext): string {
  const folder = mkdtempSync(path.join(tmpdir(), "file-server-test-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function makeFile(folder: string, name: string, contents: Uint8Array | string): void {
  writeFileSync(path.join(folder, name), contents);
  utimesSync(path.join(folder, name), MODIFIED, MODIFIED);
}

/** Starts a server in this process, which is stopped when the test ends. */
export async function serving(t: TestContext, folder: string, ...options: string[]): Promise<FileServer> {
  const server = await FileServer.start(optionsOf([folder, "--port", "0", "--no-log", ...options], "/")!);
  t.after(async () => {
    const stopped = server.stop();
    // Responses that a failed test has left behind are cut.
    await server.stop();
    await stopped;
  });
  return server;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Opens a connection; an error of it is its end. */
export function connection(port: number): Socket {
  return connect(port, "127.0.0.1").on("error", () => {});
}

/** Sends bytes, and resolves to all that came before the connection ended. */
export async function exchange(port: number, text: string): Promise<Buffer> {
  const socket = connection(port);
  const parts: Buffer[] = [];
  socket.on("data", (part) => parts.push(part));
  socket.write(text, "latin1");
  await new Promise((resolve) => socket.once("close", resolve));
  return Buffer.concat(parts);
}

export function parsed(bytes: Buffer): Answer {
  const end = bytes.indexOf("\r\n\r\n");
  const [first = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 2)]),
  );
  return { status: Number(first.split(" ")[1]), headers, body: bytes.subarray(end + 4) };
}

/** A request by its first line without the version, and its other headers. */
export async function request(port: number, line: string, headers: Record<string, string> = {}): Promise<Answer> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return parsed(
    await exchange(port, `${line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${lines.join("")}\r\n`),
  );
}

/** Random numbers from 0 to 1 that a seed gives again (mulberry32). */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) >>> 0;
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomBytes(count: number, seed = 1): Uint8Array {
  const next = random(seed);
  return Uint8Array.from({ length: count }, () => Math.floor(next() * 256));
}

/** Begins to fetch a file, and takes no more of it for now. */
export async function begun(port: number, target: string): Promise<{ socket: Socket; bytes: () => number }> {
  const socket = connection(port);
  let bytes = 0;
  socket.on("data", (part) => {
    bytes += part.length;
  });
  socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`);
  await new Promise((resolve) => socket.once("data", resolve));
  socket.pause();
  return { socket, bytes: () => bytes };
}
