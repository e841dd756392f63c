/** Reads files in /proc and /sys. */

import { closeSync, fstatSync, openSync, type Stats } from "node:fs";
import { FCNTL, type Mount, mountsOf, readText } from "pinless/internal";

/** Number in a file; null if it doesn't exist or contains none. */
export function readNumber(path: string): number | null {
  const text = readText(path)?.trim() ?? "";
  return /^-?\d+$/.test(text) ? Number(text) : null;
}

/** Word in brackets: "always [madvise] never". */
export function readChoice(path: string): string | null {
  return /\[([\w+]+)\]/.exec(readText(path) ?? "")?.[1] ?? null;
}

/** Field of a text such as /proc/self/status. */
export function field(text: string, name: string): string | null {
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? null;
}

/** Mounts that this process sees. */
export function mounts(): readonly Mount[] {
  return mountsOf(readText("/proc/self/mountinfo") ?? "");
}

/** Stat and mount of a path, without opening it for reading. Throws as node:fs does if there is no such path. */
export function look(path: string): { readonly stat: Stats; readonly mount: Mount | null } {
  const fd = openSync(path, FCNTL.O_PATH | FCNTL.O_CLOEXEC);
  try {
    const id = Number(field(readText(`/proc/self/fdinfo/${fd}`) ?? "", "mnt_id") ?? Number.NaN);
    return { stat: fstatSync(fd), mount: mounts().find((mount) => mount.id === id) ?? null };
  } finally {
    closeSync(fd);
  }
}
