/** Figures in Prometheus' text format, on a port of their own: `/-/metrics`. */

import { createServer, type Server } from "node:http";
import type { BlockPool } from "./block-pool.js";
import type { Reader } from "./readers.js";

/** Ends of responses: with their last byte, by the client, in the middle by an error, or with an error as answer. */
export type Ending = "complete" | "left" | "cut" | "refused";

export class Metrics {
  readonly #responses = new Map<string, number>();
  bytesSent = 0;
  inProgress = 0;

  count(status: number, ending: Ending): void {
    const labels = `status="${status}",ending="${ending}"`;
    this.#responses.set(labels, (this.#responses.get(labels) ?? 0) + 1);
  }

  text(pool: BlockPool, reader: Reader, dropped: number): string {
    const lines: string[] = [];
    const add = (name: string, type: "counter" | "gauge", values: Iterable<[labels: string, value: number]>): void => {
      lines.push(`# TYPE file_server_${name} ${type}`);
      for (const [labels, value] of values)
        lines.push(`file_server_${name}${labels === "" ? "" : `{${labels}}`} ${value}`);
    };
    add("responses_total", "counter", this.#responses);
    add("body_bytes_total", "counter", [["", this.bytesSent]]);
    add("responses_in_progress", "gauge", [["", this.inProgress]]);
    add("blocks_used", "gauge", [["", pool.used]]);
    add("blocks", "gauge", [["", pool.size]]);
    add("waiting_for_blocks", "gauge", [["", pool.waiting]]);
    add("log_lines_dropped_total", "counter", [["", dropped]]);
    add("resident_bytes", "gauge", [["", process.memoryUsage.rss()]]);
    const figures = Object.entries(reader.figures()).map<[string, number]>(([name, value]) => [
      `reader="${reader.name}",figure="${name}"`,
      value,
    ]);
    add("reader", "gauge", figures);
    return `${lines.join("\n")}\n`;
  }
}

export function metricsServer(text: () => string): Server {
  return createServer((request, response) => {
    const found = request.method === "GET" && request.url === "/-/metrics";
    response.writeHead(found ? 200 : 404, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" });
    response.end(found ? text() : "404 Not Found: /-/metrics is here\n");
  });
}
