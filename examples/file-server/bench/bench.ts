/**
 * The server on pinless and on node:fs, in turn, each in a memory cgroup of 128 MiB, with a cold page cache: 32 clients
 * fetch 4 GiB. Prints medians, and draws memory and page cache over time.
 *
 *   npm run bench -w examples/file-server -- [--small] [--folder FOLDER] [--rounds 5] [--mib 4096] [--clients 32]
 *     [--warm] [--draw FILE.svg]
 *
 * With --warm files that fit into the cgroup (64 MiB) are fetched 32 times, after a first time. FOLDER is on a
 * filesystem with direct I/O; files are made there, of random bytes, unless they are there.
 */

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { draw, type Sample } from "./drawing.js";
import { type MemoryCgroup, memoryCgroup, noMemoryCgroups } from "./memory-cgroup.js";

const MIB = 2 ** 20;
const LIMIT_BYTES = 128 * MIB;
const SAMPLE_MS = 50;
const READERS = ["pinless", "node"] as const;

const { values } = parseArgs({
  options: {
    small: { type: "boolean", default: false },
    folder: { type: "string", default: path.join("/var/tmp", "pinless-file-server") },
    rounds: { type: "string" },
    mib: { type: "string" },
    clients: { type: "string", default: "32" },
    warm: { type: "boolean", default: false },
    draw: { type: "string" },
  },
});
const rounds = Number(values.rounds ?? (values.small ? 1 : 5));
const mib = Number(values.mib ?? (values.warm ? 64 : values.small ? 256 : 4096));
const clients = Number(values.clients);
const times = values.warm ? 32 : 1;
const folder = values.small ? path.join(tmpdir(), `file-server-bench-${process.pid}`) : values.folder;

interface Round {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly cacheGrowth: number;
  readonly peak: number;
  readonly anonymous: number;
  readonly samples: readonly Sample[];
}

if (noMemoryCgroups !== false) console.log(`without memory cgroups: ${noMemoryCgroups}`);
const bytes = Math.floor((mib * MIB) / clients);
const names = Array.from({ length: clients }, (_, i) => `${bytes}-${i}`);
mkdirSync(folder, { recursive: true });
try {
  for (const name of names) makeFile(path.join(folder, name));
  const results = new Map<string, Round[]>(READERS.map((reader) => [reader, []]));
  for (let round = 0; round < rounds; round++) {
    // The one that goes first takes turns too.
    for (const reader of round % 2 === 0 ? READERS : [...READERS].reverse())
      results.get(reader)!.push(await measured(reader));
  }
  report(results);
} finally {
  if (values.small) rmSync(folder, { recursive: true, force: true });
}

function makeFile(file: string): void {
  if (existsSync(file) && statSync(file).size === bytes) return;
  const fd = openSync(file, "w");
  for (let at = 0; at < bytes; at += MIB) writeSync(fd, randomBytes(Math.min(MIB, bytes - at)));
  fsyncSync(fd);
  closeSync(fd);
}

/** Writes a file back, and drops its pages from the page cache. */
function drop(file: string): void {
  execFileSync("dd", [`of=${file}`, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
}

async function measured(reader: string): Promise<Round> {
  for (const name of names) drop(path.join(folder, name));
  const cgroup = noMemoryCgroups === false ? memoryCgroup(LIMIT_BYTES) : null;
  try {
    return await measuredIn(cgroup, reader);
  } finally {
    await cgroup?.remove();
  }
}

async function measuredIn(cgroup: MemoryCgroup | null, reader: string): Promise<Round> {
  const main = path.join(import.meta.dirname, "..", "src", "main.js");
  const options = ["--port", "0", "--reader", reader, "--no-log"];
  const [command, ...args] = [...(cgroup?.enter ?? []), process.execPath, main, folder, ...options];
  const server = spawn(command!, args, { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [line] = await once(server.stdout, "data");
    const port = /:(\d+)\//.exec(String(line))![1]!;
    if (values.warm) await fetchAll(port, 1, names);
    const before = cgroup?.use();
    const cpuBefore = cpuSeconds(server);
    const began = performance.now();
    const samples: Sample[] = [];
    const sampler = setInterval(() => {
      const use = cgroup?.use();
      if (use !== undefined) samples.push({ ...use, seconds: (performance.now() - began) / 1000 });
    }, SAMPLE_MS);
    const half = clients >> 1;
    await Promise.all([fetchAll(port, times, names.slice(0, half)), fetchAll(port, times, names.slice(half))]);
    const seconds = (performance.now() - began) / 1000;
    clearInterval(sampler);
    const use = cgroup?.use();
    const most = (field: keyof Sample): number => Math.max(0, ...samples.map((sample) => sample[field]));
    return {
      seconds,
      cpuSeconds: cpuSeconds(server) - cpuBefore,
      cacheGrowth: Math.max(most("cache"), use?.cache ?? 0) - (before?.cache ?? 0),
      peak: use?.peak ?? 0,
      anonymous: most("anonymous"),
      samples,
    };
  } finally {
    server.kill("SIGTERM");
    if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
  }
}

async function fetchAll(port: string, count: number, of: readonly string[]): Promise<void> {
  if (of.length === 0) return;
  const args = [path.join(import.meta.dirname, "client.js"), port, `${count}`, ...of.map((name) => `/${name}`)];
  const client = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  const [code] = await once(client, "exit");
  if (code !== 0) throw new Error(`a client failed: exit code ${code}`);
}

/** CPU time of a process and all of its threads. */
function cpuSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  // User and system time, in hundredths of a second.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function median(list: readonly number[]): number {
  return [...list].sort((a, b) => a - b)[list.length >> 1]!;
}

function report(results: ReadonlyMap<string, readonly Round[]>): void {
  const gib = (bytes * clients * times) / 2 ** 30;
  console.log(
    `${gib.toFixed(2)} GiB to ${clients} clients, ${values.warm ? "warm" : "cold"}, medians of ${rounds} rounds; ` +
      `${cpus().length} × ${cpus()[0]!.model}, Linux ${release()}, Node ${process.version}`,
  );
  const figure = (reader: string, of: (round: Round) => number): number => median(results.get(reader)!.map(of));
  const rows = READERS.map((reader) => [
    reader === "node" ? "node:fs" : reader,
    `${((gib * 1024) / figure(reader, ({ seconds }) => seconds)).toFixed(0)} MiB/s`,
    `${(figure(reader, (round) => round.cpuSeconds) / gib).toFixed(2)} s`,
    ...[(round: Round) => round.cacheGrowth, (round: Round) => round.peak, (round: Round) => round.anonymous].map(
      (of) => `${(figure(reader, of) / MIB).toFixed(1)} MiB`,
    ),
  ]);
  const ratio = (of: (round: Round) => number): string => (figure("pinless", of) / figure("node", of)).toFixed(2);
  console.log("| | throughput | CPU a GiB | page cache grew | peak memory | anonymous |\n|---|---|---|---|---|---|");
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
  console.log(
    `pinless: ${(1 / Number(ratio(({ seconds }) => seconds))).toFixed(2)} of node:fs's throughput, ` +
      `${ratio((round) => round.cpuSeconds)} of its CPU time`,
  );
  if (values.draw === undefined || noMemoryCgroups !== false) return;
  const runs = READERS.map((reader) => {
    const byTime = [...results.get(reader)!].sort((a, b) => a.seconds - b.seconds);
    return [reader === "node" ? "node:fs" : reader, byTime[byTime.length >> 1]!.samples] as const;
  });
  const said = `Memory of the server while ${clients} clients fetch ${gib.toFixed(1)} GiB, in a cgroup of 128 MiB`;
  writeFileSync(
    path.resolve(process.env.INIT_CWD ?? ".", values.draw),
    draw(Object.fromEntries(runs), LIMIT_BYTES, said),
  );
}
