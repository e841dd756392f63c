/**
 * Owns what must not be left behind: the scratch file and the swap file. It's a process in a process group of its own,
 * so that both are removed even if the bench is killed: its IPC channel closes then, which is the order to clean up.
 */

import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { ScratchOrder } from "../command/scratch-space.js";
import { writeNumbered } from "./numbered.js";
import type { ScratchMade } from "./scratch.js";

const PIECE_BYTES = 4 << 20;
const run = promisify(execFile);

let directory: string | null = null;
let swapOn: string | null = null;
let leaving = false;
let making: Promise<void> = Promise.resolve();

async function make(order: ScratchOrder): Promise<ScratchMade> {
  const made = await mkdtemp(join(order.directory, "pinless-scratch-"));
  directory = made;
  const path = join(made, "data");
  if (order.fileBytes > 0) await writeFile(path, order.fileBytes, writeNumbered);
  return { path, noSwap: order.swapBytes === 0 ? null : await makeSwap(join(made, "swap"), order.swapBytes) };
}

async function writeFile(
  path: string,
  bytes: number,
  fill: (memory: Uint8Array, position: number) => void,
): Promise<void> {
  const handle: FileHandle = await open(path, "wx", 0o600);
  try {
    const piece = new Uint8Array(PIECE_BYTES);
    for (let position = 0; position < bytes && !leaving; position += PIECE_BYTES) {
      fill(piece, position);
      await handle.write(piece, 0, PIECE_BYTES, position);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes and enables the swap file; resolves to null, or to the reason why there is no swap. */
async function makeSwap(path: string, bytes: number): Promise<string | null> {
  try {
    // It's written in full, because swapon refuses a file with holes.
    await writeFile(path, bytes, () => {});
    if (leaving) return "cancelled";
    await run("mkswap", [path]);
    // It's noted before it's done, because undoing something that wasn't done does no harm.
    swapOn = path;
    await run("swapon", [path]);
    return null;
  } catch (error) {
    swapOn = null;
    const { stderr, message } = error as { stderr?: string; message: string };
    return `no swap: ${(stderr ?? "").trim().split("\n").at(-1) || message}`;
  }
}

async function undo(): Promise<void> {
  if (leaving) return;
  leaving = true;
  await making.catch(() => {});
  // "Not in use" is fine too. If there's no memory for the swapped pages, the file has to stay.
  if (swapOn !== null) await run("swapoff", [swapOn]).catch(() => {});
  if (swapOn !== null && readFileSync("/proc/swaps", "utf8").includes(swapOn)) {
    process.stderr.write(`pinless bench: ${swapOn} can't be switched off now: swapoff and delete it later\n`);
    process.exit(1);
  }
  if (directory !== null) await rm(directory, { recursive: true, force: true });
  process.exit();
}

process.on("message", (order: ScratchOrder) => {
  const made = make(order);
  making = made.then(
    () => {},
    () => {},
  );
  made.then(
    (answer) => process.send?.(answer, () => {}),
    (error: Error) => process.send?.({ error: error.message }, () => {}),
  );
});
process.on("disconnect", () => void undo());
process.on("SIGINT", () => void undo());
process.on("SIGTERM", () => void undo());
// The bench may have ended while this module was loading.
if (!process.connected) void undo();
