/** Facts about this process in /proc. */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import koffi from "koffi";

/** Bytes that this process has pinned now. */
export function pinnedBytes(pid: number | "self" = "self"): number {
  return Number(/^VmPin:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
}

/** The targets of this process's descriptors: paths, and names like "anon_inode:[io_uring]". */
export function openTargets(): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // The descriptor of the directory itself, which is closed by now.
      return [];
    }
  });
}

/** The number of this process's descriptors of a file. */
export function descriptorsOf(file: string): number {
  return openTargets().filter((target) => target === file).length;
}

/** Address of memory, which mustn't be on V8's heap, where it moves. */
export function addressOf(view: Uint8Array): number {
  return Number(koffi.address(new Uint8Array(view.buffer))) + view.byteOffset;
}

/** Mappings of this process that aren't pages of V8's heap: any system call that splits one adds a line. */
export function mappings(): number {
  const V8_PAGE_BYTES = 256 * 1024;
  const all = readFileSync("/proc/self/maps", "utf8").split("\n").length - 1;
  return all - process.memoryUsage().heapTotal / V8_PAGE_BYTES;
}

/** The entries of /proc/self/smaps that touch [start, end): every field of each, sizes in bytes. */
export function mappingsOf(start: number, end: number): Map<string, string>[] {
  const found: Map<string, string>[] = [];
  let current: Map<string, string> | null = null;
  for (const line of readFileSync("/proc/self/smaps", "utf8").split("\n")) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line);
    if (head !== null) {
      const touches = Number.parseInt(head[1]!, 16) < end && Number.parseInt(head[2]!, 16) > start;
      current = touches ? new Map([["Range", line]]) : null;
      if (current !== null) found.push(current);
    } else if (current !== null) {
      const [name = "", value = ""] = line.split(/:\s*/);
      current.set(name, value);
    }
  }
  return found;
}

/** A field in kB, summed over the mappings that touch a range; in bytes. */
export function smapsBytes(field: string, start: number, end: number): number {
  return mappingsOf(start, end).reduce(
    (sum, mapping) => sum + Number.parseInt(mapping.get(field) ?? "0", 10) * 1024,
    0,
  );
}

/** The protection of [start, end), a letter a page: "r" for read-only, "w" for writable, "?" for anything else. */
export function protectionOf(start: number, end: number): string {
  let letters = "";
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const [, from, to, may] = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) /.exec(line) ?? [];
    if (from === undefined) continue;
    const pages = (Math.min(end, Number.parseInt(to!, 16)) - Math.max(start, Number.parseInt(from, 16))) / 4096;
    if (pages > 0) letters += { "r--p": "r", "rw-p": "w" }[may!]?.repeat(pages) ?? "?".repeat(pages);
  }
  return letters;
}
