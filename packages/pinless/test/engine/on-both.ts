/** A scenario on a FileHandle of Node's and on a File, for the two to be compared. */

import { readFileSync, writeFileSync } from "node:fs";
import { type FileHandle, open as openByNode } from "node:fs/promises";
import path from "node:path";
import type { Engine, File } from "../../dist/index.js";
import { closeNodeHandle } from "../support/node-handle.js";

/** The content of a file that isn't opened to be overwritten. */
export const TEXT = "0123456789".repeat(30_000);

// biome-ignore lint/suspicious/noExplicitAny: wrong arguments are what is tried
export type Handle = any;

/** Result or error of a call, without what differs between the two. */
async function outcome(run: () => unknown): Promise<unknown> {
  try {
    return { result: shown(await run()) };
  } catch (error) {
    const { name, code, cause } = error as NodeJS.ErrnoException;
    return { name, code, cause };
  }
}

function shown(value: unknown): unknown {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer
    ? `${value.constructor.name} of ${value.byteLength}`
    : value;
}

export type Scenario = (handle: Handle, file: string) => unknown;

/** Runs a scenario on a FileHandle and on a File, each on a file of the same content, and gives both outcomes. */
export async function onBoth(
  engine: Engine,
  directory: string,
  flags: string,
  scenario: Scenario,
): Promise<[byNode: unknown, byPinless: unknown]> {
  const outcomes: unknown[] = [];
  for (const by of ["node", "pinless"]) {
    const file = path.join(directory, by);
    writeFileSync(file, flags.startsWith("w") ? "" : TEXT);
    const handle: FileHandle | File = await (by === "node" ? openByNode(file, flags) : engine.openFile(file, flags));
    const result = await outcome(() => scenario(handle, file));
    await (by === "node" ? closeNodeHandle(handle) : outcome(() => handle.close()));
    outcomes.push({ result, content: readFileSync(file, "latin1") });
  }
  return outcomes as [unknown, unknown];
}
