/** Answers to requests: which file, which of its bytes, under which conditions. */

import { randomBytes } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { BlockPool } from "./block-pool.js";
import { failedCondition, rangeHolds, validatorsOf } from "./conditions.js";
import { readRange, written } from "./file-body.js";
import { HttpError } from "./http-error.js";
import { indexPage } from "./index-page.js";
import { mediaTypeOf } from "./media-types.js";
import { type ByteRange, rangesOf } from "./ranges.js";
import type { OpenFile, Reader } from "./readers.js";
import { nameOf, type Site } from "./site.js";

/** The parts of a server that answers need. */
export interface Answers {
  readonly site: Site;
  readonly reader: Reader;
  readonly pool: BlockPool;
  readonly index: boolean;
  readonly dotfiles: boolean;
}

/** A response under way. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Aborted once the client has left. */
  readonly signal: AbortSignal;
  readonly stallMs: number;
  /** Notes that the client has taken bytes of a body. */
  took(bytes: number): void;
}

/** A piece of a body: text, or a range of the file. */
type Part = string | ByteRange;

/** @throws HttpError; errors of the filesystem; ClientLeft; others in the middle of a body */
export async function respond(answers: Answers, exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  response.setHeader("X-Content-Type-Options", "nosniff");
  if (request.method !== "GET" && request.method !== "HEAD")
    throw new HttpError(405, "only GET and HEAD are served", { Allow: "GET, HEAD" });
  const { "transfer-encoding": encoding, "content-length": length = "0" } = request.headers;
  if (encoding !== undefined || length !== "0")
    throw new HttpError(413, "a request for a file has no body", { Connection: "close" });
  const segments = answers.site.segmentsOf(request.url ?? "");
  const found = await answers.site.find(segments);
  try {
    const stats = await found.stat({ bigint: true });
    if (stats.isDirectory()) await respondWithIndex(answers, exchange, found, segments);
    else if (!stats.isFile()) throw new HttpError(403, "that is neither a file nor a folder");
    else await respondWithFile(answers, exchange, found, segments.at(-1)!);
  } finally {
    await found.close();
  }
}

async function respondWithIndex(
  { index, dotfiles }: Answers,
  { request, response }: Exchange,
  folder: FileHandle,
  segments: readonly string[],
): Promise<void> {
  if (!index) throw new HttpError(403, "folders aren't listed");
  if (segments.at(-1) !== "") {
    const path = segments.map(encodeURIComponent).join("/");
    response.writeHead(301, { Location: `/${path}/`, "Content-Length": 0 }).end();
    return;
  }
  const page = await indexPage(folder, segments, dotfiles);
  response.setHeader("Content-Security-Policy", "default-src 'none'");
  response.setHeader("Content-Type", "text/html; charset=utf-8");
  response.writeHead(200, { "Content-Length": Buffer.byteLength(page) });
  response.end(request.method === "HEAD" ? undefined : page);
}

async function respondWithFile(
  { reader, pool }: Answers,
  exchange: Exchange,
  found: FileHandle,
  name: string,
): Promise<void> {
  const { request, response } = exchange;
  const file = await reader.open(nameOf(found));
  try {
    const stats = await found.stat({ bigint: true });
    const size = Number(stats.size);
    const validators = validatorsOf(stats);
    const isGet = request.method === "GET";
    const { range, "if-range": ifRange } = request.headers;
    response.setHeader("ETag", validators.etag);
    response.setHeader("Last-Modified", validators.lastModified);
    response.setHeader("Accept-Ranges", "bytes");
    const failed = failedCondition(request.headers, validators);
    if (failed === 412) throw new HttpError(412, "the file isn't the one that the request is about");
    if (failed === 304) {
      response.writeHead(304).end();
      return;
    }
    const holds = isGet && range !== undefined && rangeHolds(headerText(ifRange), validators);
    const ranges = holds ? rangesOf(range, size) : null;
    const { status, headers, parts } = bodyOf(ranges, size, mediaTypeOf(name));
    for (const [header, value] of Object.entries(headers)) response.setHeader(header, value!);
    response.statusCode = status;
    if (isGet) for (const part of parts) await sendPart(exchange, part, file, pool);
    response.end();
  } finally {
    await file.close();
  }
}

/** The text of a header that has a single value. Node's types have a list for those that it doesn't know. */
function headerText(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(", ") : value;
}

function bodyOf(
  ranges: readonly ByteRange[] | null,
  size: number,
  type: string,
): { status: number; headers: OutgoingHttpHeaders; parts: Part[] } {
  if (ranges === null) {
    const parts = size > 0 ? [{ start: 0, end: size - 1 }] : [];
    return { status: 200, headers: { "Content-Type": type, "Content-Length": size }, parts };
  }
  const rangeText = ({ start, end }: ByteRange): string => `bytes ${start}-${end}/${size}`;
  const lengthOf = ({ start, end }: ByteRange): number => end - start + 1;
  const [first] = ranges;
  if (ranges.length === 1) {
    const headers = { "Content-Type": type, "Content-Range": rangeText(first!), "Content-Length": lengthOf(first!) };
    return { status: 206, headers, parts: [first!] };
  }
  const boundary = randomBytes(18).toString("hex");
  const head = (range: ByteRange): string =>
    `\r\n--${boundary}\r\nContent-Type: ${type}\r\nContent-Range: ${rangeText(range)}\r\n\r\n`;
  const parts = [...ranges.flatMap((range) => [head(range), range]), `\r\n--${boundary}--\r\n`];
  const length = parts.reduce((sum, part) => sum + (typeof part === "string" ? part.length : lengthOf(part)), 0);
  const headers = { "Content-Type": `multipart/byteranges; boundary=${boundary}`, "Content-Length": length };
  return { status: 206, headers, parts };
}

async function sendPart(exchange: Exchange, part: Part, file: OpenFile, pool: BlockPool): Promise<void> {
  const send = async (bytes: Uint8Array | string): Promise<void> => {
    await written(exchange.response, bytes, exchange.stallMs);
    exchange.took(bytes.length);
  };
  if (typeof part === "string") await send(part);
  else for await (const block of readRange(file, pool, part, exchange.signal)) await send(block);
}
