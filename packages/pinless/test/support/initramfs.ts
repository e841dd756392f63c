/** The first filesystem of a guest, as the kernel takes it: an uncompressed cpio archive ("newc"). */

import { readdirSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";

const DIRECTORY = 0o040755;
const FILE = 0o100755;
const LINK = 0o120777;

export class Initramfs {
  readonly #pieces: Buffer[] = [];
  readonly #directories = new Set<string>(["."]);
  #inode = 1;

  directory(name: string): void {
    if (this.#directories.has(name)) return;
    this.directory(path.dirname(name));
    this.#directories.add(name);
    this.#put(name, DIRECTORY, Buffer.alloc(0));
  }

  file(name: string, from: string): void {
    this.directory(path.dirname(name));
    this.#put(name, FILE, readFileSync(realpathSync(from)));
  }

  /** A symbolic link. */
  link(name: string, to: string): void {
    this.directory(path.dirname(name));
    this.#put(name, LINK, Buffer.from(to));
  }

  /** A directory with all that's in it. */
  tree(name: string, from: string): void {
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      const [to, source] = [path.join(name, entry.name), path.join(from, entry.name)];
      if (entry.isDirectory()) this.tree(to, source);
      else this.file(to, source);
    }
  }

  /** Once everything is in it. */
  archive(): Buffer {
    this.#put("TRAILER!!!", 0, Buffer.alloc(0));
    return Buffer.concat(this.#pieces);
  }

  /**
   * The header's fields: inode, mode, owner, group, links, time, size, device and what it is a device of, length of the
   * name, checksum.
   */
  #put(name: string, mode: number, content: Buffer): void {
    const fields = [this.#inode++, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, Buffer.byteLength(name) + 1, 0];
    const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`);
    for (const piece of [head, content]) this.#pieces.push(piece, Buffer.alloc(-piece.length & 3));
  }
}
