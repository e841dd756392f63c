/** Checks files that commands will write before the work begins, not minutes later. */

import { accessSync, constants, statSync } from "node:fs";
import path from "node:path";

/**
 * Reason why a report can't be written there: it isn't writable, or it's one of the inputs under any name; otherwise
 * null.
 */
export function whyUnwritable(file: string | undefined, inputs: readonly (string | undefined)[] = []): string | null {
  if (file === undefined || file === "-") return null;
  try {
    const there = statSync(file, { throwIfNoEntry: false });
    if (there?.isDirectory() === true) return `${file} is a directory: give the name of a file`;
    if (there === undefined) accessSync(path.dirname(file), constants.W_OK | constants.X_OK);
    else accessSync(file, constants.W_OK);
    const input = inputs.find((each) => each !== undefined && isSame(each, file));
    return input === undefined ? null : `${file} would replace ${input}, which is read: give another name`;
  } catch (error) {
    const { code = "", message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR")
      return `${file} can't be written: there's no directory for it (${code})`;
    return `${file} can't be written: ${code === "EACCES" ? "you may not write there (EACCES)" : message}`;
  }
}

/**
 * True for the same file, also through hard or symbolic links. A device such as /dev/null doesn't count, since writing
 * doesn't replace it.
 */
function isSame(a: string, b: string): boolean {
  const [one, other] = [a, b].map((file) => statSync(file, { throwIfNoEntry: false }));
  if (one === undefined || other === undefined) return path.resolve(a) === path.resolve(b);
  return one.isFile() && one.dev === other.dev && one.ino === other.ino;
}
