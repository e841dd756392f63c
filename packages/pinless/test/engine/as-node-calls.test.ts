/**
 * Some four thousand calls on a FileHandle and on a File, with every kind of value in the place of every argument:
 * results and errors.
 */

import assert from "node:assert/strict";
import { chmodSync, closeSync, openSync, readSync, statSync, writeFileSync } from "node:fs";
import { open as openByNode } from "node:fs/promises";
import path from "node:path";
import { after, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { closeNodeHandle } from "../support/node-handle.js";
import { scratchDirectory } from "../support/undo.js";

const engine = await Engine.open({ depth: 8 });
after(() => engine.close());

const NODE_MAJOR = Number.parseInt(process.versions.node, 10);

/** Made anew for each call. */
const VALUES: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  zero: () => 0,
  five: () => 5,
  "minus one": () => -1,
  half: () => 1.5,
  NaN: () => Number.NaN,
  infinity: () => Number.POSITIVE_INFINITY,
  "2 ** 31": () => 2 ** 31,
  "2 ** 53": () => 2 ** 53,
  text: () => "abc",
  "no text": () => "",
  utf8: () => "utf8",
  hex: () => "hex",
  true: () => true,
  false: () => false,
  function: () => () => {},
  symbol: () => Symbol("s"),
  date: () => new Date(5),
  object: () => ({}),
  "object of no class": () => Object.create(null),
  array: () => [],
  "array of 1": () => [1],
  map: () => new Map(),
  bytes: () => Buffer.alloc(100, 1),
  "no bytes": () => Buffer.alloc(0),
  words: () => new Uint16Array(8),
  "shared bytes": () => new Uint8Array(new SharedArrayBuffer(8)),
  DataView: () => new DataView(new ArrayBuffer(9)),
  ArrayBuffer: () => new ArrayBuffer(8),
  SharedArrayBuffer: () => new SharedArrayBuffer(8),
  "{ offset: 3 }": () => ({ offset: 3 }),
  "{ length: 3 }": () => ({ length: 3 }),
  "{ length: -3 }": () => ({ length: -3 }),
  "{ position: 3 }": () => ({ position: 3 }),
  "all options": () => ({ offset: 1, length: 2, position: 3 }),
  "options of null": () => ({ offset: null, length: null, position: null }),
  "{ buffer: 5 }": () => ({ buffer: 5 }),
  "{ buffer }": () => ({ buffer: Buffer.alloc(5, 1) }),
};

const KINDS = Object.keys(VALUES);
/** Newer versions of Node 24 have readFile read into an option's `buffer`, which a view has too. */
const HAVE_BUFFER = KINDS.filter((kind) => (VALUES[kind]!() as { buffer?: unknown } | null)?.buffer !== undefined);
/** A length, or a mode, that isn't a small integer ends the process by an assertion of Node's. */
const SMALL = ["undefined", "null", "zero", "five"];
const value = (kind: string): unknown => VALUES[kind]!();

interface Call {
  readonly what: string;
  readonly args: () => unknown[];
}

function calls(method: string): Call[] {
  const list: Call[] = [];
  const add = (what: string, args: () => unknown[]): void => void list.push({ what: `${method}(${what})`, args });
  for (const kind of KINDS) {
    if (method === "readFile" && NODE_MAJOR >= 24 && HAVE_BUFFER.includes(kind)) continue;
    if (method !== "chmod" || !/half|NaN|inf|2 \*\*/.test(kind)) add(kind, () => [value(kind)]);
    if (method === "chown" || method === "utimes") {
      // -1 leaves the file's owner as it is.
      const other = method === "chown" ? -1 : 0;
      if (!/zero|five/.test(kind)) add(`${kind}, other`, () => [value(kind), other]);
      if (!/zero|five/.test(kind)) add(`other, ${kind}`, () => [other, value(kind)]);
    }
    if (method === "read" || method === "write") {
      for (const first of ["bytes", "words", "DataView", "shared bytes", "text"])
        add(`${first}, ${kind}`, () => [value(first), value(kind)]);
      add(`text, 0, ${kind}`, () => [value("text"), 0, value(kind)]);
      if (SMALL.includes(kind)) add(`bytes, 0, ${kind}`, () => [value("bytes"), 0, value(kind)]);
      add(`bytes, 0, 5, ${kind}`, () => [value("bytes"), 0, 5, value(kind)]);
    }
    if (method === "readv" || method === "writev") {
      add(`[${kind}]`, () => [[value(kind)]]);
      add(`[bytes, ${kind}]`, () => [[value("bytes"), value(kind)]]);
      add(`[bytes], ${kind}`, () => [[value("bytes")], value(kind)]);
    }
    if (method === "stat") add(`{ bigint: ${kind} }`, () => [{ bigint: value(kind) }]);
    if (method === "createReadStream" || method === "createWriteStream")
      for (const option of [
        "start",
        "end",
        "highWaterMark",
        "encoding",
        "autoClose",
        "emitClose",
        "signal",
        "flush",
        "fs",
      ])
        add(`{ ${option}: ${kind} }`, () => [{ [option]: value(kind) }]);
  }
  return list;
}

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tried
type Handle = any;

function shown(result: unknown): unknown {
  if (typeof result === "symbol") return String(result);
  if (typeof result !== "object" || result === null) return result;
  if (ArrayBuffer.isView(result)) return `${result.constructor.name} of ${result.byteLength}`;
  const kind: string = result.constructor?.name ?? "";
  if (/Stats$/.test(kind)) return `${kind}: ${(result as { size: number | bigint }).size}`;
  if (/Stream$|Interface$/.test(kind)) {
    const { path, start, end, pos, readableHighWaterMark, writableHighWaterMark, readableEncoding, autoClose } =
      result as Handle;
    return [kind, path, start, end, pos, readableHighWaterMark, writableHighWaterMark, readableEncoding, autoClose]
      .map(String)
      .join();
  }
  return Object.entries(result).map(([key, each]) => [key, Array.isArray(each) ? each.map(shown) : shown(each)]);
}

/**
 * Closes an interface of lines and waits for the end of its stream. The stream's first read may be in flight, and the
 * read that follows would race with it for the bytes at the file's own position.
 */
async function endOf(lines: Handle): Promise<void> {
  const { input } = lines;
  lines.on("error", () => {}).close();
  if (input.closed) return;
  const closed = new Promise((resolve) => input.on("error", () => {}).once("close", resolve));
  input.destroy();
  await closed;
}

/** Outcome of the call, of the next read, and the file's contents afterwards. */
async function outcome(handle: Handle, method: string, { args }: Call, file: string): Promise<unknown> {
  let result: unknown;
  try {
    const returned = handle[method](...args());
    const isPromise = returned instanceof Promise;
    const settled = isPromise ? await returned : returned;
    result = [isPromise, shown(settled)];
    if (/^create/.test(method)) settled.on("error", () => {}).destroy();
    if (method === "readLines") await endOf(settled);
  } catch (error) {
    const { name, code, syscall } = error as NodeJS.ErrnoException;
    result = { name, code, syscall };
  }
  const next = await handle.read(Buffer.alloc(1), 0, 1, null).then(
    ({ bytesRead }: { bytesRead: number }) => bytesRead,
    ({ code }: NodeJS.ErrnoException) => code,
  );
  const start = Buffer.alloc(40);
  // A call may have taken away all permissions.
  chmodSync(file, 0o644);
  const fd = openSync(file, "r");
  readSync(fd, start);
  closeSync(fd);
  return { result, next, size: statSync(file).size, start: start.toString("latin1") };
}

const METHODS = [
  ...[
    "stat",
    "truncate",
    "chmod",
    "chown",
    "utimes",
    "sync",
    "datasync",
    "read",
    "readv",
    "write",
    "writev",
    "readFile",
  ],
  ...["writeFile", "appendFile", "createReadStream", "createWriteStream", "readLines", "close"],
];

for (const method of METHODS) {
  test(`${method} takes and refuses what FileHandle's does, open and closed`, async (t) => {
    const directory = scratchDirectory(t);
    const differences: unknown[] = [];
    for (const call of calls(method)) {
      for (const closed of [false, true]) {
        const outcomes: unknown[] = [];
        for (const by of ["node", "pinless"]) {
          const file = path.join(directory, by);
          writeFileSync(file, "0123456789".repeat(20));
          const handle: Handle = await (by === "node" ? openByNode(file, "r+") : engine.openFile(file, "r+"));
          if (closed) await handle.close();
          outcomes.push(await outcome(handle, method, call, file));
          await (by === "pinless" ? handle.close() : closeNodeHandle(handle));
        }
        const [byNode, byPinless] = outcomes.map((each) =>
          JSON.stringify(each, (_, v) => (typeof v === "bigint" ? `${v}n` : v)),
        );
        if (byNode !== byPinless) differences.push([call.what, closed ? "closed" : "open", byNode, byPinless]);
      }
    }
    assert.deepEqual(differences, []);
  });
}
