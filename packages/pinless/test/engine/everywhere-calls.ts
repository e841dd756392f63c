/** Calls that are made on a FileHandle and on a File of every scheme, and must come to the same. */

import { createHash } from "node:crypto";

// biome-ignore lint/suspicious/noExplicitAny: what both have, and wrong arguments
type Handle = any;

/** Memory for a call: ordinary for node:fs, and of an arena, at a page or `odd`, for pinless. */
export type Memory = (bytes: number, odd?: boolean) => Uint8Array;

export interface Call {
  readonly what: string;
  /** True if the call reads to the end, so that it isn't made on files without an end. */
  readonly toTheEnd?: boolean;
  /** On a handle of its own, which it closes, as streams do. */
  readonly alone?: boolean;
  readonly run: (handle: Handle, memory: Memory) => unknown;
}

/** Comparable form of a result: bytes as their number and hash. */
export function shown(value: unknown): unknown {
  if (value instanceof ArrayBuffer) return shown(new Uint8Array(value));
  if (ArrayBuffer.isView(value)) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    return `${bytes.length} bytes ${createHash("sha1").update(bytes).digest("hex")}`;
  }
  return value;
}

function filled(memory: Uint8Array, seed: number): Uint8Array {
  return memory.map((_, i) => 97 + ((i * 7 + seed) % 26));
}

/** Into memory of its own, so that a copy is made of the arena's. */
function fill(memory: Uint8Array, seed: number): Uint8Array {
  memory.set(filled(new Uint8Array(memory.byteLength), seed));
  return memory;
}

function read(what: string, bytes: number, position: number | null | undefined, odd = false): Call {
  return {
    what: `read ${what}`,
    run: async (handle, memory) => {
      const buffer = memory(bytes, odd).fill(0xee);
      const { bytesRead } = await handle.read(buffer, { position });
      // Behind the end an arena may have the rest of a block.
      return [bytesRead, shown(buffer.subarray(0, bytesRead))];
    },
  };
}

function ordinaryRead(what: string, bytes: number, position: number | null): Call {
  return {
    what: `read ${what} into a Buffer`,
    run: async (handle) => {
      const buffer = Buffer.alloc(bytes, 0xee);
      const { bytesRead } = await handle.read(buffer, 0, bytes, position);
      return [bytesRead, shown(buffer)];
    },
  };
}

function write(what: string, bytes: number, position: number | null | undefined, odd = false): Call {
  return {
    what: `write ${what}`,
    run: async (handle, memory) => (await handle.write(fill(memory(bytes, odd), bytes), { position })).bytesWritten,
  };
}

async function collected(stream: Handle): Promise<unknown> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return shown(Buffer.concat(parts));
}

/** Writes by a stream, which closes the handle at its end, as by default. */
async function streamed(stream: Handle, ...parts: Uint8Array[]): Promise<unknown> {
  const seen: string[] = [];
  stream.on("finish", () => seen.push("finish")).on("error", ({ code }: NodeJS.ErrnoException) => seen.push(code!));
  const closed = new Promise((resolve) => stream.on("close", resolve));
  for (const part of parts) stream.write(part);
  stream.end();
  await closed;
  return [seen, stream.bytesWritten];
}

/** At the own position, in an order in which each goes on where the last one has left off. */
const OWN: readonly Call[] = [
  ordinaryRead("100 bytes at the own position", 100, null),
  read("4096 bytes at the own position", 4096, null),
  read("100 bytes at the own position, at -1", 100, -1),
  {
    what: "readv at the own position",
    run: async (handle, memory) => {
      const buffers = [Buffer.alloc(5), memory(4096), memory(7, true)];
      const { bytesRead } = await handle.readv(buffers);
      return [bytesRead, shown(Buffer.concat(buffers).subarray(0, bytesRead))];
    },
  },
  write("10 bytes at the own position", 10, null),
  write("a block at the own position", 4096, undefined),
  { what: "write text at the own position", run: async (handle) => (await handle.write("grüße")).bytesWritten },
  {
    what: "writev at the own position",
    run: async (handle, memory) =>
      (await handle.writev([Buffer.from("ab"), fill(memory(512), 1), fill(memory(3, true), 2)])).bytesWritten,
  },
  ordinaryRead("behind that", 10, null),
];

const POSITIONED: readonly Call[] = [
  read("the first block", 4096, 0),
  read("64 KiB from 0 on", 65536, 0),
  read("into memory that isn't aligned", 4096, 4096, true),
  read("a part of a block", 999, 777),
  read("much from an odd place on", 100_000, 1001),
  read("across the end", 65536, 294_912),
  read("behind the end", 100, 5_000_000),
  ordinaryRead("5000 bytes at 10", 5000, 10),
  ordinaryRead("1.5 MiB at 0", 1_500_000, 0),
  {
    what: "read into nothing",
    run: async (handle) => (await handle.read(Buffer.alloc(10), 0, 0, 0)).bytesRead,
  },
  {
    what: "readv at 512",
    run: async (handle, memory) => {
      const buffers = [memory(512), Buffer.alloc(100), memory(4096)];
      const { bytesRead } = await handle.readv(buffers, 512);
      return [bytesRead, shown(Buffer.concat(buffers).subarray(0, bytesRead))];
    },
  },
  { what: "writev of nothing", run: async (handle) => (await handle.writev([])).bytesWritten },
  write("10 bytes at 5", 10, 5),
  write("a block at 8192", 4096, 8192),
  write("2 blocks at 12288, from memory that isn't aligned", 8192, 12288, true),
  write("much at an odd place", 70_000, 20_001),
  { what: "write nothing", run: async (handle) => (await handle.write(Buffer.alloc(0))).bytesWritten },
  {
    what: "write nothing of something",
    run: async (handle) => (await handle.write(Buffer.alloc(9), 3, 0)).bytesWritten,
  },
  { what: "write text at 3", run: async (handle) => (await handle.write("text", 3, "latin1")).bytesWritten },
  {
    what: "writev at 100",
    run: async (handle, memory) =>
      (await handle.writev([fill(memory(512), 4), Buffer.from("xyz"), fill(memory(100, true), 5)], 100)).bytesWritten,
  },
];

/** Written last: what they write is what everything else can't be compared by any more. */
const WHOLE: readonly Call[] = [
  {
    what: "createReadStream from 1000 to 70,000",
    alone: true,
    run: (handle) => collected(handle.createReadStream({ start: 1000, end: 70_000 })),
  },
  {
    what: "createReadStream to its end",
    alone: true,
    toTheEnd: true,
    run: (handle) => collected(handle.createReadStream()),
  },
  { what: "readFile", toTheEnd: true, run: async (handle) => shown(await handle.readFile()) },
  { what: "readFile as text", toTheEnd: true, run: (handle) => handle.readFile("utf8") },
  { what: "writeFile", run: async (handle) => handle.writeFile(filled(new Uint8Array(5000), 3)) },
  { what: "appendFile", run: async (handle) => handle.appendFile("the end") },
  { what: "truncate(5000)", run: (handle) => handle.truncate(5000) },
  { what: "truncate()", run: (handle) => handle.truncate() },
  { what: "sync", run: (handle) => handle.sync() },
  { what: "datasync", run: (handle) => handle.datasync() },
  { what: "utimes", run: (handle) => handle.utimes(1000, 2000) },
  { what: "a size", run: async (handle) => (await handle.stat()).size },
];

const CLOSED: readonly Call[] = [
  { what: "close", run: (handle) => handle.close() },
  { what: "fd, closed", run: (handle) => handle.fd },
  { what: "close again", run: (handle) => handle.close() },
  ordinaryRead("after close", 10, 0),
  { what: "write after close", run: (handle) => handle.write("x") },
  { what: "stat after close", run: (handle) => handle.stat() },
];

export const FILE_CALLS: readonly Call[] = [
  {
    what: "a kind",
    run: async (handle) => {
      const stat = await handle.stat();
      return [stat.isFile(), stat.isBlockDevice(), stat.isCharacterDevice(), stat.isDirectory()];
    },
  },
  ...OWN,
  ...POSITIONED,
  ...WHOLE,
  {
    what: "createWriteStream at 10",
    alone: true,
    run: (handle) => streamed(handle.createWriteStream({ start: 10 }), Buffer.from("a"), Buffer.alloc(9000, "b")),
  },
  ...CLOSED,
];

/** Calls on a pipe, terminal or socket with a peer; `arrive` is the text that the peer has written. */
export function streamCalls(arrive: string): readonly Call[] {
  return [
    ordinaryRead(`what ${arrive}`, 100, null),
    read("at a position", 10, 0),
    { what: "readv at a position", run: (handle, memory) => handle.readv([memory(10)], 0) },
    write("at a position", 10, 0),
    { what: "write text at a position", run: (handle) => handle.write("x", 0) },
    { what: "writev at a position", run: (handle, memory) => handle.writev([memory(10)], 5) },
    write("10 bytes", 10, null),
    write("from memory that isn't aligned", 100, null, true),
    { what: "write text", run: async (handle) => (await handle.write("grüße\n")).bytesWritten },
    {
      what: "writev",
      run: async (handle, memory) =>
        (await handle.writev([Buffer.from("ab"), fill(memory(512), 1), fill(memory(3, true), 2)])).bytesWritten,
    },
    { what: "write nothing", run: async (handle) => (await handle.write(Buffer.alloc(0))).bytesWritten },
  ];
}

/** Calls on a pipe that is open for both directions: bytes that were written come back. */
export const PIPE_CALLS: readonly Call[] = [
  ...streamCalls("was there"),
  read("a part of what was written", 50, null),
  {
    what: "readv of a part",
    run: async (handle, memory) => {
      const buffers = [Buffer.alloc(5), memory(100), memory(7, true)];
      const { bytesRead } = await handle.readv(buffers);
      return [bytesRead, shown(Buffer.concat(buffers).subarray(0, bytesRead))];
    },
  },
  ordinaryRead("all the rest", 65536, null),
  { what: "truncate", run: (handle) => handle.truncate(10) },
  { what: "sync", run: (handle) => handle.sync() },
  { what: "a kind", run: async (handle) => (await handle.stat()).isFIFO() },
  ...CLOSED,
];

/** Calls on a pipe without a writer. */
export const ENDED_PIPE_CALLS: readonly Call[] = [
  read("10 bytes", 10, null),
  { what: "readFile", run: async (handle) => shown(await handle.readFile()) },
  read("behind the end", 10, null),
  {
    what: "createReadStream behind the end",
    run: (handle) => collected(handle.createReadStream()),
  },
  { what: "write to what is open for reading", run: (handle) => handle.write("x") },
  ...CLOSED,
];
