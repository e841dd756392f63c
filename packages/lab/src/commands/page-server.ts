/**
 * The HTTP server of the page: files of one folder, and JSON about this host, on the loopback address only. The first
 * part of a path is a token that only the address printed at the start has, so that no other page and no other user of
 * this machine reads anything. It answers GET and HEAD, and only to a name of the loopback address, so that another
 * site's name that is made to lead here is of no use (DNS rebinding).
 */

import { randomBytes, timingSafeEqual } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import path from "node:path";

const LOOPBACK = "127.0.0.1";
const LOOPBACK_HOSTS = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/i;
const TOKEN_BYTES = 16;

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
};

const HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
};

interface PageFile {
  readonly type: string;
  readonly body: () => Buffer | Promise<Buffer>;
}

export interface PageServerOptions {
  /** Folder with the page's files, which are read once. */
  readonly folder: string;
  /** 0: a free one. */
  readonly port: number;
  /** JSON beside the files, by name: what each returns is read anew for every request. */
  readonly live: Readonly<Record<string, () => unknown>>;
}

export class PageServer {
  readonly #token = randomBytes(TOKEN_BYTES).toString("hex");
  readonly #files: ReadonlyMap<string, PageFile>;
  readonly #server: Server;

  private constructor({ folder, live }: PageServerOptions) {
    const files = new Map<string, PageFile>();
    for (const name of readdirSync(folder)) {
      const body = readFileSync(path.join(folder, name));
      files.set(name, { type: TYPES[path.extname(name)] ?? "application/octet-stream", body: () => body });
    }
    for (const [name, value] of Object.entries(live)) {
      const body = async (): Promise<Buffer> => Buffer.from(JSON.stringify(await value()));
      files.set(name, { type: "application/json", body });
    }
    this.#files = files;
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  static async listen(options: PageServerOptions): Promise<PageServer> {
    const { port } = options;
    const page = new PageServer(options);
    await new Promise<void>((resolve, reject) => {
      page.#server.once("error", reject);
      page.#server.listen({ host: LOOPBACK, port }, resolve);
    });
    return page;
  }

  /** Address of the page, with its token. */
  get url(): string {
    const address = this.#server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    return `http://${LOOPBACK}:${port}/${this.#token}/`;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "", url = "", headers } = request;
    if (!LOOPBACK_HOSTS.test(headers.host ?? "")) return refuse(response, 403, "the Host header isn't a loopback name");
    if (method !== "GET" && method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      return refuse(response, 405, "the page is only read: GET or HEAD");
    }
    const [, token = "", name = "", ...more] = url.split(/[?#]/, 1)[0]!.split("/");
    if (!this.#isToken(token)) return refuse(response, 403, "open the address that pinless-lab serve has printed");
    const file = more.length === 0 ? this.#files.get(name === "" ? "index.html" : name) : undefined;
    if (file === undefined) return refuse(response, 404, "the page has no such file");
    let body: Buffer;
    try {
      body = await file.body();
    } catch (error) {
      return refuse(response, 500, (error as Error).message);
    }
    response.writeHead(200, { ...HEADERS, "Content-Type": file.type, "Content-Length": body.length });
    response.end(method === "HEAD" ? undefined : body);
  }

  /** Compares in a time that doesn't tell how much of a guess is right. */
  #isToken(text: string): boolean {
    const [given, wanted] = [Buffer.from(text), Buffer.from(this.#token)];
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  }
}

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" });
  response.end(`${status} ${STATUS_CODES[status]}: ${why}\n`);
}
