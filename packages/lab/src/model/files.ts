/** Files with paths and bytes, on top of the machine's inode pages and page cache. */

import { alignDown, alignUp, EFBIG, ENOSPC, invariant, PAGE_BYTES } from "pinless/portable";
import { AdvisoryLocks } from "./advisory-locks.js";
import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";
import { FILESYSTEMS, STABLE_PAGES } from "./tables.js";

/** Inode pages reserved for a file, so that it can grow in place. */
const ROOM_PAGES = 4096;
/** ext4's largest file, with blocks of 4 KiB. */
const LARGEST_BYTES = 2 ** 44;

export class ModelFile {
  readonly number: number;
  readonly firstInodePage: number;
  readonly roomPages: number;
  bytes = 0;
  mode = 0o644;
  readonly locks = new AdvisoryLocks();
  readonly #machine: Machine;
  readonly #filesystem: number;

  constructor(machine: Machine, number: number, firstInodePage: number, roomPages: number, filesystem: number) {
    this.#machine = machine;
    this.number = number;
    this.firstInodePage = firstInodePage;
    this.roomPages = roomPages;
    this.#filesystem = filesystem;
  }

  /** First disk block of a preallocated file. The others follow it, unless one was rewritten elsewhere. */
  get firstBlock(): number {
    return this.#machine.cache.blockOf(this.firstInodePage);
  }

  get pages(): number {
    return Math.ceil(this.bytes / PAGE_BYTES);
  }

  /** Number of the inode page at a position. */
  inodePageAt(position: number): number {
    return this.firstInodePage + Math.floor(position / PAGE_BYTES);
  }

  /** Reads at most `length` bytes from `position`, up to the end of the file or to a page that can't be read (EIO). */
  read(position: number, length: number): Uint8Array {
    const machine = this.#machine;
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.bytes - position)));
    for (const { inodePage, from, at, count } of this.#pieces(position, bytes.length)) {
      machine.contents.noticeFile(inodePage);
      if (machine.cache.bringIn(inodePage) < 0) return bytes.subarray(0, at);
      const content = machine.contents.bytesOf(machine.cache.contentOfInode(inodePage));
      bytes.set(content.subarray(from, from + count), at);
    }
    return bytes;
  }

  /** Returns the content of the whole file without bringing it into the page cache. */
  content(): Uint8Array {
    const { contents } = this.#machine;
    const bytes = new Uint8Array(this.pages * PAGE_BYTES);
    for (let i = 0; i < this.pages; i++) {
      contents.noticeFile(this.firstInodePage + i);
      bytes.set(contents.bytesOf(this.#machine.cache.contentOfInode(this.firstInodePage + i)), i * PAGE_BYTES);
    }
    return bytes.subarray(0, this.bytes);
  }

  /**
   * Writes bytes and returns 0 or a negative errno. Returns WAIT, and writes nothing, while one of the pages is under
   * writeback and has to be stable.
   */
  write(position: number, bytes: Uint8Array): number {
    const machine = this.#machine;
    for (const { inodePage } of this.#pieces(position, bytes.length))
      if (machine.cache.isUnderWriteback(inodePage) && machine.cache.inodeIs(inodePage, STABLE_PAGES)) return WAIT;
    const errno = this.grow(position + bytes.length);
    if (errno < 0) return errno;
    for (const { inodePage, from, at, count } of this.#pieces(position, bytes.length)) {
      machine.contents.noticeFile(inodePage);
      const broughtIn = machine.cache.bringIn(inodePage);
      if (broughtIn < 0) return broughtIn;
      const content = machine.contents.bytesOf(machine.cache.contentOfInode(inodePage)).slice();
      content.set(bytes.subarray(at, at + count), from);
      const written = machine.cache.writeFile(inodePage, machine.contents.tagOf(content));
      if (written < 0) return written;
      machine.contents.showFile(inodePage);
    }
    return 0;
  }

  /** Extends the file to `bytes` if it's shorter. Returns 0, -EFBIG or -ENOSPC. */
  grow(bytes: number): number {
    if (bytes <= this.bytes) return 0;
    if (bytes > LARGEST_BYTES) return -EFBIG;
    if (bytes > this.roomPages * PAGE_BYTES) return -ENOSPC;
    const before = this.bytes;
    const { pages } = this;
    this.bytes = bytes;
    for (let i = pages; i < this.pages; i++) this.#machine.cache.extendFile(this.firstInodePage + i, this.#filesystem);
    // Bytes that a mapping stored beyond the old end must not become part of the file.
    const tail = Math.min(alignUp(before, PAGE_BYTES), bytes) - before;
    const wasMapped = tail > 0 && !this.#machine.cache.mappingsOf(this.inodePageAt(before)).next().done;
    return wasMapped ? this.write(before, new Uint8Array(tail)) : 0;
  }

  /**
   * ftruncate. Returns WAIT while I/O is in flight on a page beyond the new end; calling it again continues from there.
   */
  truncate(bytes: number): number {
    if (bytes >= this.bytes) return this.grow(bytes);
    const kept = Math.ceil(bytes / PAGE_BYTES);
    for (let i = this.pages - 1; i >= kept; i--) {
      const inodePage = this.firstInodePage + i;
      this.#machine.contents.noticeFile(inodePage);
      const errno = this.#machine.cache.truncateFile(inodePage);
      if (errno < 0) return errno;
      this.#machine.contents.showFile(inodePage);
      this.bytes = i * PAGE_BYTES;
    }
    const tail = Math.min(alignUp(bytes, PAGE_BYTES), this.bytes) - bytes;
    const errno = tail > 0 ? this.write(bytes, new Uint8Array(tail)) : 0;
    if (errno === 0) this.bytes = bytes;
    return errno;
  }

  /** Writes all of the file to the disk and empties its page cache, without virtual time passing. */
  settle(): void {
    for (let i = 0; i < this.pages; i++) {
      const inodePage = this.firstInodePage + i;
      const begun = this.#machine.writeback.begin(inodePage);
      invariant("STATE", begun === 0, `inode page ${inodePage} of a file that's in use is to settle`);
      if (!this.#machine.cache.isUnderWriteback(inodePage)) continue;
      this.#machine.writeback.serve(inodePage);
      this.#machine.writeback.end(inodePage);
      this.#machine.cache.reclaimFile(inodePage);
    }
  }

  *#pieces(position: number, length: number): Generator<Piece> {
    for (let at = 0; at < length; ) {
      const from = (position + at) % PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - from, length - at);
      yield { inodePage: this.inodePageAt(alignDown(position + at, PAGE_BYTES)), from, at, count };
      at += count;
    }
  }
}

/** Part of a file page that a transfer covers: offset in the page, offset in the transfer, and length in bytes. */
interface Piece {
  readonly inodePage: number;
  readonly from: number;
  readonly at: number;
  readonly count: number;
}

/** Open file description: a file and the access mode that it was opened with. */
export interface Descriptor {
  /** Null for the process's own memory (/proc/self/mem), where positions are addresses. */
  readonly file: ModelFile | null;
  readonly readable: boolean;
  readonly writable: boolean;
  /** True if every write goes to the end of the file (O_APPEND). */
  readonly append: boolean;
}

export class ModelFiles {
  readonly #machine: Machine;
  readonly #byPath = new Map<string, ModelFile>();
  #nextInodePage = 0;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  get(path: string): ModelFile | undefined {
    return this.#byPath.get(path);
  }

  /**
   * Creates an empty file. On a filesystem that writes in place, consecutive blocks for all of its room are allocated
   * at once.
   */
  create(path: string, roomBytes = 0, filesystem: number = FILESYSTEMS.ext4): ModelFile {
    const machine = this.#machine;
    const room = Math.max(ROOM_PAGES, 2 * Math.ceil(roomBytes / PAGE_BYTES));
    const first = this.#nextInodePage;
    invariant("STATE", first + room <= (machine.size.inodePages ?? 0), "the model's disk is full");
    this.#nextInodePage += room;
    for (let i = 0; filesystem === FILESYSTEMS.ext4 && i < room; i++) machine.cache.preallocate(first + i);
    const file = new ModelFile(machine, this.#byPath.size + 1, first, room, filesystem);
    this.#byPath.set(path, file);
    return file;
  }
}
