/** Provides the file to read, and swap for memory; creates both if they don't exist. */

import { fork } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { UsageError } from "../command/failures.js";
import { MIN_FILE_BYTES, orderFor, type ScratchOrder, scratchDirectory } from "../command/scratch-space.js";
import type { Target } from "./worker-protocol.js";

const MIB = 1 << 20;
const SWAP_BYTES = 96 * MIB;

export interface ScratchMade {
  readonly path: string;
  /** Reason why there is no swap, or null. */
  readonly noSwap: string | null;
}

export interface Scratch {
  readonly target: Omit<Target, "filesystem">;
  readonly swap: "active" | "temporary" | "none";
  readonly noSwap: string | null;
  /** Removes everything; resolves once that's done. */
  close(): Promise<void>;
}

/** Prepares both. `file` is an existing file to read instead of a scratch file. Throws `UsageError`. */
export async function prepareScratch(
  file: string | null,
  wantedBytes: number,
  swapActive: boolean,
  signal: AbortSignal,
): Promise<Scratch> {
  const given = file === null ? null : existing(file);
  const root = process.geteuid?.() === 0;
  const wantsSwap = !swapActive && root;
  const noSwap = swapActive || root ? null : "no swap: run as root, or activate some with swapon";
  const swap = swapActive ? "active" : "none";
  if (given !== null && !wantsSwap) return { target: given, swap, noSwap, close: async () => {} };
  const directory = scratchDirectory();
  let order: ScratchOrder;
  try {
    order = orderFor(directory, given === null ? wantedBytes : 0, wantsSwap ? SWAP_BYTES : 0);
  } catch (error) {
    // Without a scratch file only swap needs the space, and the bench can run without swap.
    if (given === null || !(error instanceof UsageError)) throw error;
    return { target: given, swap, noSwap: `no swap: ${error.message}`, close: async () => {} };
  }
  const keeper = fork(new URL("./scratch-process.js", import.meta.url), [], {
    detached: true,
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const close = async (): Promise<void> => {
    if (keeper.exitCode !== null || keeper.signalCode !== null) return;
    const gone = once(keeper, "exit");
    if (keeper.connected) keeper.disconnect();
    await gone;
  };
  try {
    const gone = once(keeper, "exit", { signal }).then(() => ({ error: "the process that makes it ended" }));
    keeper.send(order);
    const answer = once(keeper, "message", { signal }).then(([message]) => message as ScratchMade | { error: string });
    const made = await Promise.race([answer, gone]);
    if ("error" in made) throw new UsageError(`a scratch file can't be made in ${directory}: ${made.error}`);
    const temporary = order.swapBytes > 0 && made.noSwap === null;
    const noRoom = wantsSwap && order.swapBytes === 0 ? `no swap: no room for it in ${directory}` : null;
    return {
      target: given ?? { path: made.path, bytes: order.fileBytes, numbered: true },
      swap: temporary ? "temporary" : swap,
      noSwap: made.noSwap ?? noRoom ?? noSwap,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function existing(path: string): Scratch["target"] {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw new UsageError(`${path} is a directory: --file takes a file`);
    if (!stat.isFile()) throw new UsageError(`${path} isn't a regular file`);
    if (stat.size < MIN_FILE_BYTES)
      throw new UsageError(
        `${path} is too small: it has ${stat.size} bytes; give a file of at least ${MIN_FILE_BYTES}`,
      );
    const fd = openSync(path, "r");
    readSync(fd, new Uint8Array(1));
    closeSync(fd);
    return { path, bytes: stat.size, numbered: false };
  } catch (error) {
    throw error instanceof UsageError ? error : new UsageError((error as Error).message);
  }
}
