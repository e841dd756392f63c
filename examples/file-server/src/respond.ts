/** Answers to requests: which file, which of its bytes, under which conditions. */

import { randomBytes } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { BlockPool } from "./block-pool.js";
import { failedCondition, rangeHolds, type Validators, validatorsOf } from "./conditions.js";
import { readRange, taken } from "./file-body.js";
import { HttpError } from "./http-error.js";
import { indexPage } from "./index-page.js";
import { mediaTypeOf } from "./media-types.js";
import type { Options } from "./options.js";
import { type ByteRange, rangesOf } from "./ranges.js";
import type { Reader } from "./readers.js";
import { nameOf, type Site } from "./site.js";

/** The parts of a server that answers need. */
export interface Parts {
  readonly options: Options;
  readonly site: Site;
  readonly reader: Reader;
  readonly pool: BlockPool;
}

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted once the client has left. */
  readonly signal: AbortSignal;
  /** Notes that the client has taken bytes of a body. */
  took(bytes: number): void;
}

/** A piece of a body: text, or a range of the file. */
type Piece = string | ByteRange;

/** @throws HttpError; errors of the filesystem; ClientLeft; others in the middle of a body */
export async function respond(parts: Parts, exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  if (request.method !== "GET" && request.method !== "HEAD")
    throw new HttpError(405, "only GET and HEAD are served", { Allow: "GET, HEAD" });
  const { "transfer-encoding": encoding, "content-length": length = "0" } = request.headers;
  if (encoding !== undefined || length !== "0")
    throw new HttpError(413, "a request for a file has no body", { Connection: "close" });
  const segments = parts.site.segmentsOf(request.url ?? "");
  const found = await parts.site.find(segments);
  try {
    const stats = await found.stat({ bigint: true });
    if (!stats.isDirectory() && !stats.isFile()) throw new HttpError(403, "that is neither a file nor a folder");
    if (stats.isDirectory() && !parts.options.index) throw new HttpError(403, "folders aren't listed");
    response.setHeader("X-Content-Type-Options", "nosniff");
    const pieces = stats.isFile()
      ? piecesOfFile(exchange, validatorsOf(stats), Number(stats.size), mediaTypeOf(segments.at(-1)!))
      : await piecesOfIndex(exchange, found, segments, parts.options.dotfiles);
    if (request.method === "GET" && pieces.length > 0) await send(parts, exchange, pieces, found);
    response.end();
  } finally {
    await found.close();
  }
}

async function piecesOfIndex(
  { response }: Exchange,
  folder: FileHandle,
  segments: readonly string[],
  dotfiles: boolean,
): Promise<Piece[]> {
  if (segments.at(-1) !== "") {
    response.statusCode = 301;
    response.setHeader("Location", `/${segments.map(encodeURIComponent).join("/")}/`).setHeader("Content-Length", 0);
    return [];
  }
  const page = await indexPage(folder, segments, dotfiles);
  response.setHeader("Content-Security-Policy", "default-src 'none'");
  response.setHeader("Content-Type", "text/html; charset=utf-8").setHeader("Content-Length", Buffer.byteLength(page));
  return [page];
}

function piecesOfFile({ request, response }: Exchange, validators: Validators, size: number, type: string): Piece[] {
  const { range } = request.headers;
  response.setHeader("ETag", validators.etag).setHeader("Last-Modified", validators.lastModified);
  response.setHeader("Accept-Ranges", "bytes");
  const failed = failedCondition(request.headers, validators);
  if (failed === 412) throw new HttpError(412, "the file isn't the one that the request is about");
  if (failed === 304) {
    response.statusCode = 304;
    return [];
  }
  const ranged = request.method === "GET" && range !== undefined && rangeHolds(request.headers, validators);
  const ranges = ranged ? rangesOf(range, size) : null;
  if (ranges !== null) response.statusCode = 206;
  const textOf = ({ start, end }: ByteRange): string => `bytes ${start}-${end}/${size}`;
  const [first = { start: 0, end: size - 1 }, ...more] = ranges ?? [];
  const lengthOf = (piece: Piece): number => (typeof piece === "string" ? piece.length : piece.end - piece.start + 1);
  let pieces: Piece[] = size > 0 ? [first] : [];
  if (more.length > 0) {
    const boundary = randomBytes(18).toString("hex");
    const head = (of: ByteRange): string =>
      `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${textOf(of)}\r\n\r\n`;
    pieces = [...[first, ...more].flatMap((each) => [head(each), each]), `\r\n--${boundary}--\r\n`];
    type = `multipart/byteranges; boundary=${boundary}`;
  } else if (ranges !== null) response.setHeader("Content-Range", textOf(first));
  const length = pieces.reduce((sum, piece) => sum + lengthOf(piece), 0);
  response.setHeader("Content-Type", type).setHeader("Content-Length", length);
  return pieces;
}

/** Sends pieces of a body. The head goes with the first, so that a file that can't be read has an error as answer. */
async function send({ options, reader, pool }: Parts, exchange: Exchange, pieces: Piece[], found: FileHandle) {
  const { response, signal } = exchange;
  const write = async (bytes: Uint8Array): Promise<void> => {
    await taken(response, signal, options.stallMs, (done) => response.write(bytes, done));
    exchange.took(bytes.length);
  };
  const file = pieces.some((piece) => typeof piece !== "string") ? await reader.open(nameOf(found)) : null;
  try {
    for (const piece of pieces) {
      if (typeof piece === "string") await write(Buffer.from(piece));
      else for await (const block of readRange(file!, pool, piece, signal)) await write(block);
    }
  } finally {
    await file?.close();
  }
}
