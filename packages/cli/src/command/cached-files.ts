/** Files that had to be read or written through the page cache, for a message at the end of a command. */

import type { Stats } from "node:fs";
import type { File } from "pinless";
import { complain } from "./output.js";

/** True if transfers of the file go through the page cache. Files of /proc have size 0, and aren't in it. */
export function goesThroughCache(
  file: File,
  stat: Pick<Stats, "isBlockDevice" | "isFile"> & { size: unknown },
): boolean {
  return !file.direct && (stat.isBlockDevice() || (stat.isFile() && Number(stat.size) > 0));
}

export class CachedFiles {
  readonly #names = new Set<string>();

  add(name: string): void {
    this.#names.add(name);
  }

  /** Names one of them. */
  tell(program: string): void {
    const [first, ...others] = this.#names;
    if (first === undefined) return;
    const more = others.length === 0 ? "" : ` and ${others.length} more`;
    complain(program, `through the page cache, because there is no direct I/O on their filesystem: ${first}${more}`);
  }
}
