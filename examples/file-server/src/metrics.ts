/** Figures in Prometheus' text format, on a port of their own: `/-/metrics`. */

import { createServer, type Server } from "node:http";

/** Ends of responses: with their last byte, by the client, in the middle by an error, or with an error as answer. */
export type Ending = "complete" | "left" | "cut" | "refused";

export class Metrics {
  readonly #responses: Record<string, number> = {};
  bytesSent = 0;
  inProgress = 0;

  count(status: number, ending: Ending): void {
    const name = `responses_total{status="${status}",ending="${ending}"}`;
    this.#responses[name] = (this.#responses[name] ?? 0) + 1;
  }

  /** The text, with more figures by name. */
  text(more: Readonly<Record<string, number>>): string {
    const own = { body_bytes_total: this.bytesSent, responses_in_progress: this.inProgress };
    const types = new Set<string>();
    const lines = Object.entries({ ...own, ...more, ...this.#responses }).map(([name, value]) => {
      const family = name.replace(/\{.*/, "");
      types.add(`# TYPE file_server_${family} ${family.endsWith("_total") ? "counter" : "gauge"}`);
      return `file_server_${name} ${value}`;
    });
    return `${[...types, ...lines].join("\n")}\n`;
  }
}

export function metricsServer(text: () => string): Server {
  return createServer((request, response) => {
    const found = request.method === "GET" && request.url === "/-/metrics";
    response.writeHead(found ? 200 : 404, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" });
    response.end(found ? text() : "404 Not Found: /-/metrics is here\n");
  });
}
