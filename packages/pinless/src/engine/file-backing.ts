/** The file behind a file-backed arena. */

import type { Host } from "../ports/host.js";
import { type NodeHandle, O_CREAT, O_RDWR, type OpenedFile } from "../ports/opened-file.js";
import type { FileArenaOptions } from "../ports/options.js";
import { EBADF } from "../protocol/errno.js";
import { argumentError, PinlessError, systemError } from "../protocol/errors.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignUp } from "../protocol/ranges/ranges.js";

/** An open file that memory can be mapped from. */
export interface Backing {
  /** Path of the file, for error messages. */
  readonly path: string | undefined;
  /** Device that the file is on: an operation that waits for it delays only operations on the same device. */
  readonly device: string;
  /** Bytes to map at the start, in whole pages. */
  readonly bytes: number;
  /** True if the file may have to be extended to that size. */
  readonly extend: boolean;
  /** Runs `use` and keeps the file open meanwhile. Rejects with EBADF if its owner has closed it. */
  with<T>(use: (file: BackingFile) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export interface BackingFile {
  readonly fd: number;
  /** Resolves to Node's `Stats`, of which `sizeOf` uses the size. */
  stat(): Promise<unknown>;
  truncate(length: number): Promise<void>;
}

export async function sizeOf(file: BackingFile): Promise<number> {
  return ((await file.stat()) as Stat).size;
}

interface Stat {
  readonly size: number;
  isFile(): boolean;
}

/**
 * Opens the file. Rejects with the errors of node:fs, and with `ERR_PINLESS_UNSUPPORTED` if it isn't a regular file.
 */
export async function openBacking(
  { file, bytes }: FileArenaOptions,
  { openFile, describe }: Pick<Host, "openFile" | "describe">,
): Promise<Backing> {
  if (bytes !== undefined && (!Number.isSafeInteger(bytes) || bytes < 1))
    throw argumentError("ERR_OUT_OF_RANGE", `bytes must be a positive integer. Received ${String(bytes)}`);
  const open = async (...[path, flags]: Parameters<Host["openFile"]>): Promise<OpenedFile> => {
    const opened = await openFile(path, flags);
    await opened.closeDirect();
    return opened;
  };
  if (typeof file === "object" && "fd" in file) {
    const { identity, handle } = await open({ fd: file.fd });
    const extent = await extentOf(handle, bytes).finally(() => handle.close());
    return {
      path: undefined,
      device: deviceOf(identity),
      ...extent,
      async with(use) {
        // Its owner may have closed it meanwhile, and another file may have its number now.
        const again = await open({ fd: file.fd });
        try {
          if (again.identity !== identity) throw systemError(describe, -EBADF, "dup");
          return await use(again.handle);
        } finally {
          await again.handle.close();
        }
      },
      close: async () => {},
    };
  }
  const { identity, handle } = await open(file, bytes === undefined ? "r+" : O_RDWR | O_CREAT);
  try {
    return {
      path: String(file),
      device: deviceOf(identity),
      ...(await extentOf(handle, bytes)),
      with: (use) => use(handle),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function deviceOf(identity: string): string {
  return identity.split(":")[0]!;
}

async function extentOf(handle: NodeHandle, asked: number | undefined): Promise<{ bytes: number; extend: boolean }> {
  const stat = (await handle.stat()) as Stat;
  if (!stat.isFile())
    throw new PinlessError(
      "ERR_PINLESS_UNSUPPORTED",
      "an arena can map only a regular file, not a directory, device, pipe or socket",
    );
  const bytes = alignUp(asked ?? stat.size, PAGE_BYTES);
  if (bytes === 0)
    throw argumentError(
      "ERR_OUT_OF_RANGE",
      "the file is empty, and options.bytes is missing: give the size of the arena",
    );
  return { bytes, extend: asked !== undefined };
}
