/** The command line. */

import path from "node:path";
import { parseArgs } from "node:util";

export type Options = NonNullable<ReturnType<typeof optionsOf>>;

const MAX_PORT = 65_535;

export const HELP = `Serves the files of a folder over HTTP, around the page cache.

  npm start -w examples/file-server -- FOLDER [options]

  --port PORT          port, 0 for any (8080)
  --host ADDRESS       address to listen on (127.0.0.1)
  --index              lists folders
  --dotfiles           also serves names that begin with a dot
  --metrics-port PORT  Prometheus' text at http://127.0.0.1:PORT/-/metrics, 0 for any port
  --no-log             no line on the standard output for each request
  --memory MIB         memory that files are read into, for all clients together (16)
  --connections COUNT  connections at a time; more are refused (1024)
  --stall SECONDS      time that a client may take for 256 KiB, or be silent, before it is cut off (60)
  --grace SECONDS      time that running responses get to end after SIGTERM or SIGINT; a second signal ends them (10)
  --reader READER      pinless; or node, the same server on node:fs, to compare with (pinless)
  --help

Exit codes: 0 after a signal, 1 if the server can't start, 2 for a wrong command line.`;

/**
 * Returns null if help is asked for.
 *
 * @param directory - A relative FOLDER is meant from there
 * @throws For a wrong command line; the message is for the user
 */
export function optionsOf(args: string[], directory: string) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      port: { type: "string", default: "8080" },
      host: { type: "string", default: "127.0.0.1" },
      index: { type: "boolean", default: false },
      dotfiles: { type: "boolean", default: false },
      "metrics-port": { type: "string" },
      "no-log": { type: "boolean", default: false },
      memory: { type: "string", default: "16" },
      connections: { type: "string", default: "1024" },
      stall: { type: "string", default: "60" },
      grace: { type: "string", default: "10" },
      reader: { type: "string", default: "pinless" },
      help: { type: "boolean" },
    },
  });
  if (values.help) return null;
  const { host, index, dotfiles, reader } = values;
  const [folder, ...more] = positionals;
  if (folder === undefined || more.length > 0)
    throw new Error(`one folder is to be named, and ${positionals.length} are`);
  if (reader !== "pinless" && reader !== "node") throw new Error(`--reader is pinless or node, not "${reader}"`);
  const number = (name: keyof typeof values, least: number, most: number): number => {
    const text = String(values[name]);
    const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
    const isWhole = most === MAX_PORT;
    if (value >= least && value <= most && (Number.isInteger(value) || !isWhole)) return value;
    throw new Error(`--${name} is a ${isWhole ? "whole " : ""}number from ${least} to ${most}, not "${text}"`);
  };
  return {
    ...{ host, index, dotfiles, reader },
    folder: path.resolve(directory, folder),
    port: number("port", 0, MAX_PORT),
    metricsPort: values["metrics-port"] === undefined ? null : number("metrics-port", 0, MAX_PORT),
    log: !values["no-log"],
    memoryBytes: number("memory", 0.25, 4096) * 2 ** 20,
    connections: number("connections", 1, MAX_PORT),
    stallMs: number("stall", 0.01, 86_400) * 1000,
    graceMs: number("grace", 0, 86_400) * 1000,
  };
}
