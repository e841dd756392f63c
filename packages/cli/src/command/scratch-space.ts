/** Space for the scratch files of the bench: its directory, and the sizes that fit there. */

import { accessSync, constants, statfsSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { UsageError } from "./failures.js";

const MIB = 1 << 20;
/** Size of the smallest file for the bench: three of the regions that its losses read in sequence. */
export const MIN_FILE_BYTES = 12 * MIB;

/** Order to the scratch process. */
export interface ScratchOrder {
  readonly directory: string;
  /** 0 if no file is wanted. */
  readonly fileBytes: number;
  readonly swapBytes: number;
}

export function scratchDirectory(): string {
  return process.env.PINLESS_SCRATCH ?? tmpdir();
}

/** Reason why there can't be a scratch file, or null; writes nothing. */
export function whyNoScratch(): { readonly directory: string; readonly why: string | null } {
  const directory = scratchDirectory();
  try {
    orderFor(directory, MIN_FILE_BYTES, 0);
    return { directory, why: null };
  } catch (error) {
    if (error instanceof UsageError) return { directory, why: error.message };
    throw error;
  }
}

/** Chooses the sizes: those wanted, or what the disk has room for. */
export function orderFor(directory: string, wantedBytes: number, swapBytes: number): ScratchOrder {
  try {
    if (!statSync(directory).isDirectory()) throw new UsageError(`the scratch space ${directory} isn't a directory`);
    accessSync(directory, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(directory);
    const roomBytes = Math.floor((bavail * bsize) / 2 / (4 * MIB)) * 4 * MIB;
    if (roomBytes < MIN_FILE_BYTES)
      throw new UsageError(`the scratch space ${directory} is full: set PINLESS_SCRATCH to a directory with room`);
    const fileBytes = Math.min(wantedBytes, roomBytes);
    return { directory, fileBytes, swapBytes: fileBytes + swapBytes > roomBytes * 2 - 4 * MIB ? 0 : swapBytes };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(
      `the scratch space can't be used: ${(error as Error).message}; set PINLESS_SCRATCH to a directory you can write`,
    );
  }
}
