/**
 * Parts of Node that files use at run time. The rest of the portable engine needs no module and no global of Node, so a
 * bundler for browsers replaces only this module, by `browser-runtime.ts` (see "browser" in package.json).
 */

import fs, { type ReadStream as NodeReadStream, type WriteStream as NodeWriteStream } from "node:fs";

export { Buffer } from "node:buffer";
export { EventEmitter } from "node:events";
export { createInterface } from "node:readline";
export { ReadableStream } from "node:stream/web";
export { inspect } from "node:util";

export const [NODE_MAJOR = 0, NODE_MINOR = 0] = process.versions.node.split(".").map(Number);

/**
 * Streams of node:fs, captured when this module is loaded because programs may replace them in node:fs. Node's types
 * have no constructors for them.
 */
export const { ReadStream, WriteStream } = fs as unknown as {
  ReadStream: new (path: unknown, options: object) => NodeReadStream;
  WriteStream: new (path: unknown, options: object) => NodeWriteStream;
};

export function emitWarning(text: string, type: string): void {
  process.emitWarning(text, type);
}
