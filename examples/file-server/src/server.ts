/** The server: connections, their timeouts, the log, and a stop that lets running responses end. */

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { AccessLog } from "./access-log.js";
import { BlockPool } from "./block-pool.js";
import { ClientLeft, taken } from "./file-body.js";
import { asHttpError } from "./http-error.js";
import { type Ending, Metrics, metricsServer } from "./metrics.js";
import type { Options } from "./options.js";
import { BLOCK_BYTES, nodeReader, pinlessReader, type Reader } from "./readers.js";
import { type Parts, respond } from "./respond.js";
import { Site } from "./site.js";

interface Connection {
  /** Number of requests that aren't answered yet. */
  running: number;
  /**
   * The answer to the last of them. Of requests that came together each waits for the one before, so that a client has
   * the memory of one response.
   */
  last: Promise<void>;
  /** Aborted once the client has left. */
  readonly leaving: AbortController;
}

export class FileServer {
  readonly #parts: Parts;
  readonly #log = new AccessLog();
  readonly #metrics = new Metrics();
  readonly #server: Server;
  readonly #metricsServer: Server | null;
  readonly #connections = new Map<Socket, Connection>();
  readonly #running = new Set<Promise<void>>();
  #stopping = false;

  private constructor(options: Options, site: Site, reader: Reader) {
    this.#parts = { options, site, reader, pool: new BlockPool(reader.blocks) };
    const { stallMs, connections, metricsPort } = options;
    this.#server = createServer({
      requestTimeout: stallMs,
      connectionsCheckingInterval: Math.min(stallMs / 2, 5000),
      keepAliveTimeout: stallMs,
    });
    this.#server.maxConnections = connections;
    this.#server.on("connection", (socket) => this.#connected(socket));
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket) => this.#malformed(error, socket as Socket));
    this.#server.on("request", (request, response) => {
      const connection = this.#connections.get(request.socket)!;
      connection.running++;
      const running = connection.last.then(() => this.#handle(request, response, connection));
      connection.last = running;
      this.#running.add(running);
      void running.then(() => this.#running.delete(running));
    });
    this.#metricsServer = metricsPort === null ? null : metricsServer(() => this.#metrics.text(this.#figures()));
  }

  static async start(options: Options): Promise<FileServer> {
    const site = await Site.open(options.folder, options.dotfiles);
    const count = Math.floor(options.memoryBytes / BLOCK_BYTES);
    const reader = await (options.reader === "node" ? nodeReader(count) : pinlessReader(count));
    const server = new FileServer(options, site, reader);
    try {
      await listening(server.#server, options.port, options.host);
      if (server.#metricsServer !== null) await listening(server.#metricsServer, options.metricsPort!, "127.0.0.1");
    } catch (error) {
      server.#server.close();
      await server.#closeFiles();
      throw error;
    }
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get metricsPort(): number | null {
    return (this.#metricsServer?.address() as AddressInfo | undefined)?.port ?? null;
  }

  /**
   * Takes no more requests, and resolves once running responses have ended, or were cut after the time that the options
   * give them; a second call cuts them at once. Resolves to the number of responses that were cut.
   */
  async stop(): Promise<number> {
    let cut = 0;
    const cutAll = (): void => {
      cut = this.#running.size;
      for (const socket of this.#connections.keys()) socket.destroy();
    };
    if (this.#stopping) {
      cutAll();
      return cut;
    }
    this.#stopping = true;
    this.#metricsServer?.close();
    this.#metricsServer?.closeAllConnections();
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const [socket, { running }] of this.#connections) if (running === 0) socket.destroy();
    const timer = setTimeout(cutAll, this.#parts.options.graceMs);
    await closed;
    clearTimeout(timer);
    await Promise.all(this.#running);
    await this.#closeFiles();
    await this.#log.end();
    return cut;
  }

  async #closeFiles(): Promise<void> {
    await this.#parts.reader.close();
    await this.#parts.site.close();
  }

  #figures(): Record<string, number> {
    const { pool, reader } = this.#parts;
    return {
      ...{ blocks: pool.size, blocks_used: pool.used, waiting_for_blocks: pool.waiting },
      ...{ log_lines_dropped_total: this.#log.dropped, resident_bytes: process.memoryUsage.rss() },
      ...Object.fromEntries(
        Object.entries(reader.figures()).map(([name, value]) => [`reader{name="${reader.name}",of="${name}"}`, value]),
      ),
    };
  }

  #connected(socket: Socket): void {
    const leaving = new AbortController();
    this.#connections.set(socket, { running: 0, last: Promise.resolve(), leaving });
    socket.once("close", () => {
      this.#connections.delete(socket);
      leaving.abort(new ClientLeft("the client left"));
    });
  }

  async #handle(request: IncomingMessage, response: ServerResponse, connection: Connection): Promise<void> {
    const { socket } = request;
    const { remoteAddress = "-" } = socket;
    const { signal } = connection.leaving;
    const began = performance.now();
    let sent = 0;
    const took = (bytes: number): void => {
      sent += bytes;
      this.#metrics.bytesSent += bytes;
    };
    this.#metrics.inProgress++;
    let ending: Ending = "complete";
    try {
      await respond(this.#parts, { request, response, signal, took });
    } catch (error) {
      ending = signal.aborted || error instanceof ClientLeft ? "left" : failed(error, request, response);
    }
    const closed = (done: () => void): void => void response.once("close", done);
    await taken(response, signal, this.#parts.options.stallMs, closed).catch(() => {});
    if (ending === "complete" && !response.writableFinished) ending = "left";
    connection.running--;
    this.#metrics.inProgress--;
    this.#metrics.count(response.statusCode, ending);
    if (this.#stopping && connection.running === 0) socket.destroySoon();
    if (!this.#parts.options.log) return;
    const ms = (performance.now() - began).toFixed(1);
    const what = `${textOf(request)} ${response.statusCode} ${sent} ${ms}ms ${ending}`;
    this.#log.line(`${remoteAddress} ${new Date().toISOString()} ${what}`);
  }

  /** Answers what isn't HTTP, or has too much of it. */
  #malformed({ code }: NodeJS.ErrnoException, socket: Socket): void {
    if (!socket.writable || this.#connections.get(socket)?.running !== 0) {
      socket.destroy();
      return;
    }
    const status = code === "HPE_HEADER_OVERFLOW" ? 431 : code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
    this.#metrics.count(status, "refused");
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`;
    socket.end(head, () => socket.destroySoon());
  }
}

/** Answers with an error, or in the middle of a body breaks the connection: only that says that bytes are missing. */
function failed(error: unknown, request: IncomingMessage, response: ServerResponse): Ending {
  const { status, headers, body } = asHttpError(error);
  if (response.headersSent || status === 500) console.error(`${request.url}: ${(error as Error).message}`);
  if (response.headersSent) {
    request.socket.destroy();
    return "cut";
  }
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  response.writeHead(status, { "Content-Length": Buffer.byteLength(body) });
  response.end(request.method === "HEAD" ? undefined : body);
  return "refused";
}

/** The first line of a request, for the log. The URL has no control characters, which Node refuses. */
function textOf({ method, url = "", httpVersion }: IncomingMessage): string {
  return `"${method} ${url.slice(0, 512).replaceAll('"', "%22")} HTTP/${httpVersion}"`;
}

async function listening(server: Server, port: number, host: string): Promise<void> {
  server.listen(port, host);
  await once(server, "listening");
}
