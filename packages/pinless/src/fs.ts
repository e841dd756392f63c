/**
 * node:fs with files that are read and written around the page cache wherever that's possible, for libraries that take
 * an `fs`. It has all of node:fs; what isn't here is Node's own.
 */

import nodeFs from "node:fs";
import { promisify } from "node:util";
import { readArguments, vectorOf, writeArguments } from "./files/arguments.js";
import { optionsOf } from "./files/node-errors.js";
import { readStreamOf, type Streamable, writeStreamOf } from "./files/streams.js";
import { type File, open as openFile } from "./index.js";

export * from "node:fs";

// biome-ignore lint/suspicious/noExplicitAny: arguments that are passed on
type Args = any[];
type Call = (...args: Args) => unknown;
type Done = (error: unknown, ...results: unknown[]) => void;

/** Node's functions, by name. */
const byNode = nodeFs as unknown as Record<string, Call>;

/** Descriptors that were opened here, each with a File on it once there was a transfer. */
const files = new Map<unknown, Promise<File> | null>();

/** Finds the File of a descriptor; null if it wasn't opened here. */
function fileOf(fd: unknown): Promise<File> | null {
  const known = files.get(fd);
  if (known === undefined || known !== null) return known ?? null;
  const file = openFile({ fd } as never);
  file.catch(() => {});
  files.set(fd, file);
  return file;
}

/** Forgets a descriptor, and resolves once its File is closed. */
async function forget(fd: unknown): Promise<void> {
  const file = files.get(fd);
  files.delete(fd);
  await file?.then(
    (opened) => opened.close(),
    () => {},
  );
}

function opened(fd: number): number {
  // Other code may have closed a descriptor of the same number.
  void forget(fd).catch(() => {});
  files.set(fd, null);
  return fd;
}

/** Calls back outside of the promise, so that what the callback throws is an uncaught exception. */
function answer(
  promise: Promise<unknown>,
  done: Done,
  resultsOf: (value: never) => unknown[],
  failed: Args = [],
): void {
  promise.then(
    (value) => process.nextTick(done, null, ...resultsOf(value as never)),
    (error) => process.nextTick(done, error, ...failed),
  );
}

export const open = ((...args: Args) => {
  const done = args.pop() as unknown;
  if (typeof done !== "function") return byNode.open!(...args, done);
  byNode.open!(...args, (error: unknown, fd: number) => (error === null ? done(null, opened(fd)) : done(error)));
}) as typeof nodeFs.open;

export const openSync = ((...args: Args) => opened(byNode.openSync!(...args) as number)) as typeof nodeFs.openSync;

export const close = ((fd: unknown, ...args: [Done?]) => {
  if (!files.get(fd) || !["undefined", "function"].includes(typeof args[0])) {
    byNode.close!(fd, ...args);
    files.delete(fd);
    return;
  }
  forget(fd).then(
    () => byNode.close!(fd, ...args),
    (error) => byNode.close!(fd, () => args[0]?.(error)),
  );
}) as typeof nodeFs.close;

export const closeSync = ((fd: number) => {
  nodeFs.closeSync(fd);
  void forget(fd).catch(() => {});
}) as typeof nodeFs.closeSync;

/** Makes a function that transfers by the descriptor's File; `check` throws for arguments that Node refuses. */
function transfers<Signature>(
  name: "read" | "readv" | "write" | "writev",
  check: (...args: Args) => unknown,
  [count, memory]: [string, string],
): Signature {
  const call = (fd: unknown, ...args: Args): unknown => {
    const done = args.pop() as unknown;
    const file = typeof done === "function" ? fileOf(fd) : null;
    if (file === null) return byNode[name]!(fd, ...args, done);
    // Options stand alone, and not before an offset as a buffer does.
    if (name === "read" && args.length > 1 && !ArrayBuffer.isView(args[0])) return byNode.read!(fd, ...args, done);
    check(...args);
    const moved = file.then((opened) => (opened[name] as (...args: Args) => Promise<unknown>)(...args));
    answer(moved, done as Done, (result: Record<string, unknown>) => [result[count], result[memory]], [0, args[0]]);
  };
  const promised = (...args: Args): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const done = (error: unknown, moved: number, buffer: unknown): void =>
        error ? reject(error) : resolve({ [count]: moved, [memory]: buffer });
      call(...(args as [unknown]), done);
    });
  return Object.assign(call, { [promisify.custom]: promised }) as Signature;
}

export const read: typeof nodeFs.read = transfers("read", readArguments, ["bytesRead", "buffer"]);
export const write: typeof nodeFs.write = transfers("write", writeArguments, ["bytesWritten", "buffer"]);
export const readv: typeof nodeFs.readv = transfers("readv", vectorOf, ["bytesRead", "buffers"]);
export const writev: typeof nodeFs.writev = transfers("writev", vectorOf, ["bytesWritten", "buffers"]);

interface WholeOptions {
  flag?: string;
  mode?: number;
  flush?: boolean;
  encoding?: BufferEncoding;
  signal?: AbortSignal;
}

/** Makes `readFile`, `writeFile` or `appendFile`: its promise form, and the one with a callback. */
function whole(name: "readFile" | "writeFile" | "appendFile", usual: string): [Call, Call] {
  const run = (file: File, args: Args): Promise<unknown> =>
    (file[name] as (...args: Args) => Promise<unknown>)(...args);
  const promised = async (path: unknown, ...args: Args): Promise<unknown> => {
    if (typeof path === "object" && path !== null && name in path) return run(path as File, args);
    const { flag = usual, mode, flush } = optionsOf<WholeOptions>(args[name === "readFile" ? 0 : 1]);
    const file = await openFile(path as string, flag, mode);
    try {
      const result = await run(file, args);
      if (flush === true) await file.sync();
      return result;
    } finally {
      await file.close();
    }
  };
  const called = (path: unknown, ...args: Args): unknown => {
    const done = args.pop() as unknown;
    const file = fileOf(path);
    const isData = name === "readFile" || typeof args[0] === "string" || ArrayBuffer.isView(args[0]);
    const isPath = typeof path === "string" || path instanceof Uint8Array || path instanceof URL;
    if (typeof done !== "function" || !isData || !(isPath || file !== null)) return byNode[name]!(path, ...args, done);
    optionsOf(args[name === "readFile" ? 0 : 1]);
    const result = file === null ? promised(path, ...args) : file.then((opened) => run(opened, args));
    answer(result, done as Done, (content) => (content === undefined ? [] : [content]));
  };
  return [promised, called];
}

const [readFileLater, readFileBack] = whole("readFile", "r");
const [writeFileLater, writeFileBack] = whole("writeFile", "w");
const [appendFileLater, appendFileBack] = whole("appendFile", "a");
export const readFile = readFileBack as unknown as typeof nodeFs.readFile;
export const writeFile = writeFileBack as unknown as typeof nodeFs.writeFile;
export const appendFile = appendFileBack as unknown as typeof nodeFs.appendFile;

/** Makes `createReadStream` or `createWriteStream`. */
function streams<Make>(
  name: "createReadStream" | "createWriteStream",
  make: typeof readStreamOf | typeof writeStreamOf,
  streamable: (file: File, options: object) => Streamable,
): Make {
  return ((path: unknown, given?: string | { fd?: unknown; fs?: unknown } | null) => {
    const options = typeof given === "string" ? { encoding: given } : (given ?? {});
    const { fd, fs } = options as { fd?: unknown; fs?: unknown };
    if (typeof fd === "object" && fd !== null && "readMany" in fd) return (fd as File)[name](options as object);
    const file = fileOf(fd);
    if (fs || typeof options !== "object" || (fd !== undefined && fd !== null && file === null))
      return byNode[name]!(path, given);
    return make(path, options, async (flags, mode) => {
      if (file === null) return streamable(await openFile(path as string, flags, mode), options);
      const opened = streamable(await file, options);
      return { ...opened, close: () => promisify(close)(fd as number) };
    });
  }) as Make;
}

export const createReadStream: typeof nodeFs.createReadStream = streams(
  "createReadStream",
  readStreamOf,
  (file, options) => file.readsAhead(options),
);
export const createWriteStream: typeof nodeFs.createWriteStream = streams(
  "createWriteStream",
  writeStreamOf,
  (file, options) => file.writesBehind(options),
);

export const promises = {
  ...nodeFs.promises,
  open: openFile,
  readFile: readFileLater,
  writeFile: writeFileLater,
  appendFile: appendFileLater,
} as unknown as typeof nodeFs.promises;

const ours = {
  open,
  openSync,
  close,
  closeSync,
  read,
  write,
  readv,
  writev,
  readFile,
  writeFile,
  appendFile,
  createReadStream,
  createWriteStream,
  promises,
};

// Copied as descriptors, because reading some of Node's deprecated properties warns.
const all: typeof nodeFs = Object.defineProperties({} as typeof nodeFs, {
  ...Object.getOwnPropertyDescriptors(nodeFs),
  ...Object.getOwnPropertyDescriptors(ours),
});
export default all;
