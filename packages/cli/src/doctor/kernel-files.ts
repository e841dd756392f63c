/** What the kernel says in files. */

import { closeSync, fstatSync, openSync, type Stats } from "node:fs";
import { FCNTL, readText } from "pinless/internal";

/** The number that a file holds; null: it isn't there, or holds none. */
export function readNumber(path: string): number | null {
  const text = readText(path)?.trim() ?? "";
  return /^-?\d+$/.test(text) ? Number(text) : null;
}

/** The word in brackets: "always [madvise] never". */
export function readChoice(path: string): string | null {
  return /\[([\w+]+)\]/.exec(readText(path) ?? "")?.[1] ?? null;
}

/** A field of a text such as /proc/self/status. */
export function field(text: string, name: string): string | null {
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1] ?? null;
}

export interface Mount {
  readonly id: number;
  /** The part of the filesystem that is mounted there. */
  readonly root: string;
  readonly at: string;
  readonly options: readonly string[];
  readonly type: string;
}

/** All mounts that this process sees (proc(5)). */
export function mounts(): readonly Mount[] {
  const lines = (readText("/proc/self/mountinfo") ?? "").split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    // ID parent device root mount-point options optional… - type source super-options
    const [before = "", after = ""] = line.split(" - ");
    const [id, , , root = "", at = "", options = ""] = before.split(" ").map(unescaped);
    const [type = "", , ofAll = ""] = after.split(" ").map(unescaped);
    return { id: Number(id), root, at, options: [...options.split(","), ...ofAll.split(",")], type };
  });
}

/** Spaces and their like are written as octal numbers. */
function unescaped(word: string): string {
  return word.replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** What a path leads to, and where that is mounted; nothing is opened for reading. Throws as node:fs does where there is no such path. */
export function look(path: string): { readonly stat: Stats; readonly mount: Mount | null } {
  const fd = openSync(path, FCNTL.O_PATH | FCNTL.O_CLOEXEC);
  try {
    const id = Number(field(readText(`/proc/self/fdinfo/${fd}`) ?? "", "mnt_id") ?? Number.NaN);
    return { stat: fstatSync(fd), mount: mounts().find((mount) => mount.id === id) ?? null };
  } finally {
    closeSync(fd);
  }
}
