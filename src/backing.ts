/** The file that an arena is a mapping of. */

import { argumentError, PinlessError } from "./core/errors.js";
import type { Host } from "./core/host.js";
import { O_CREAT, O_RDWR } from "./core/ports.js";
import { alignUp } from "./core/ranges.js";
import { PAGE_BYTES } from "./segment.js";

export interface FileArenaOptions {
  /**
   * A path, or a file that was opened for reading and writing (an engine's or node:fs's), which stays the caller's. A path that isn't there
   * is created if `bytes` are given.
   */
  file: string | Uint8Array | URL | { readonly fd: number; stat(): Promise<unknown> };
  /**
   * How much of the file, from its start on, rounded up to pages (4 KiB); a shorter file is made so long, with room on the device where the
   * filesystem can promise it. Default: all of the file, whose last page may reach beyond its end: what is stored there goes nowhere.
   */
  bytes?: number;
  /** Let child processes inherit the mapping. Default false. */
  inherit?: boolean;
}

/** An open file that memory can be mapped from. */
export interface Backing {
  readonly fd: number;
  /** For errors. */
  readonly path: string | undefined;
  /** What to map of it at first, in whole pages. */
  readonly bytes: number;
  /** Whether the file may have to be made so long. */
  readonly extend: boolean;
  close(): Promise<void>;
}

interface Stat {
  readonly size: number;
  isFile(): boolean;
}

/** As node:fs rejects where it can't be opened; with `ERR_PINLESS_UNSUPPORTED` for what isn't a regular file. */
export async function openBacking({ file, bytes }: FileArenaOptions, openFile: Host["openFile"]): Promise<Backing> {
  if (bytes !== undefined && (!Number.isSafeInteger(bytes) || bytes < 1))
    throw argumentError("ERR_OUT_OF_RANGE", `an arena of ${String(bytes)} bytes can't be made`);
  if (typeof file === "object" && "fd" in file) {
    const { size } = regular((await file.stat()) as Stat);
    return { fd: file.fd, path: undefined, ...extent(size, bytes), close: async () => {} };
  }
  const opened = await openFile(file, bytes === undefined ? "r+" : O_RDWR | O_CREAT);
  opened.closeDirect();
  const { handle } = opened;
  try {
    const { size } = regular((await handle.stat()) as Stat);
    return { fd: handle.fd, path: String(file), ...extent(size, bytes), close: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function regular(stat: Stat): Stat {
  if (stat.isFile()) return stat;
  throw new PinlessError("ERR_PINLESS_UNSUPPORTED", "an arena can only be a mapping of a regular file");
}

function extent(size: number, asked: number | undefined): { bytes: number; extend: boolean } {
  const bytes = alignUp(asked ?? size, PAGE_BYTES);
  if (bytes === 0)
    throw argumentError("ERR_OUT_OF_RANGE", "nothing of an empty file can be mapped: say how many bytes");
  return { bytes, extend: asked !== undefined };
}
