/** The folder that is served: from the target of a request to a file below it. */

import { constants, type FileHandle, open, readlink } from "node:fs/promises";
import { HttpError } from "./http-error.js";

/**
 * Opens a name without opening the file: no FIFO is waited for, no device is woken. Node doesn't name this flag of
 * Linux. What it names is opened through /proc/self/fd, and can't have become another file meanwhile.
 */
const O_PATH = 0o10000000;

const MAX_TARGET_CHARACTERS = 4096;

export class Site {
  readonly #root: FileHandle;
  readonly #dotfiles: boolean;

  private constructor(root: FileHandle, dotfiles: boolean) {
    this.#root = root;
    this.#dotfiles = dotfiles;
  }

  /** Opens the folder, which stays the same one also if it's renamed. */
  static async open(folder: string, dotfiles: boolean): Promise<Site> {
    return new Site(await open(folder, O_PATH | constants.O_DIRECTORY), dotfiles);
  }

  /**
   * Opens the name of a file or folder of the site. The caller closes it.
   *
   * @throws 403 for a file that a symbolic link leads to outside of the folder; errors of the filesystem
   */
  async find(segments: readonly string[]): Promise<FileHandle> {
    const handle = await open(`${nameOf(this.#root)}/${segments.join("/")}`, O_PATH);
    try {
      const [root, found] = await Promise.all([readlink(nameOf(this.#root)), readlink(nameOf(handle))]);
      if (found === root || found.startsWith(root === "/" ? root : `${root}/`)) return handle;
      throw new HttpError(403, "that is a link out of the folder");
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /**
   * Decodes the target of a request into names. The last one is empty if the target ends with a slash.
   *
   * @throws 400, 403 or 414 for a target that is no path of the site
   */
  segmentsOf(target: string): string[] {
    if (target.length > MAX_TARGET_CHARACTERS)
      throw new HttpError(414, `a URL may have ${MAX_TARGET_CHARACTERS} characters`);
    const [, path] = /^(?:https?:\/\/[^/?#]*)?(\/[^?#]*)(?:\?[^#]*)?$/i.exec(target) ?? [];
    if (path === undefined) throw new HttpError(400, "the URL has no path");
    const segments = path.slice(1).split("/").map(decoded);
    for (const [i, segment] of segments.entries()) {
      const isLast = i === segments.length - 1;
      if (segment === "." || segment === ".." || /[/\0]/.test(segment) || (segment === "" && !isLast))
        throw new HttpError(400, 'the path has an empty name, ".", "..", a slash or a NUL character in it');
      if (segment.startsWith(".") && !this.#dotfiles) throw new HttpError(404, "there is no such file");
    }
    return segments;
  }

  async close(): Promise<void> {
    await this.#root.close();
  }
}

/** The name in /proc of an open file. */
export function nameOf({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new HttpError(400, "the path has a percent sign without two hexadecimal digits, or bytes that aren't UTF-8");
  }
}
