/** Files by their paths and bytes: rows of the machine's inode pages, read and written through its page cache. */

import { alignDown, alignUp, EFBIG, ENOSPC, invariant, PAGE_BYTES } from "pinless/portable";
import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";
import { FILESYSTEMS, STABLE_PAGES } from "./tables.js";

/** Pages that a file has to itself, so that it can grow in place. */
const ROOM_PAGES = 4096;
/** ext4's largest file, with blocks of 4 KiB. */
const LARGEST_BYTES = 2 ** 44;

export class ModelFile {
  readonly number: number;
  readonly firstInodePage: number;
  readonly roomPages: number;
  bytes = 0;
  mode = 0o644;
  readonly #machine: Machine;
  readonly #filesystem: number;

  constructor(machine: Machine, number: number, firstInodePage: number, roomPages: number, filesystem: number) {
    this.#machine = machine;
    this.number = number;
    this.firstInodePage = firstInodePage;
    this.roomPages = roomPages;
    this.#filesystem = filesystem;
  }

  /** Of a file that was preallocated: the blocks that nobody has written elsewhere follow. */
  get firstBlock(): number {
    return this.#machine.cache.blockOf(this.firstInodePage);
  }

  get pages(): number {
    return Math.ceil(this.bytes / PAGE_BYTES);
  }

  /** Which page of all files a position is in. */
  inodePageAt(position: number): number {
    return this.firstInodePage + Math.floor(position / PAGE_BYTES);
  }

  /** What is there at `position`, at most `length` bytes: up to the end, or to a page that can't be read (EIO). */
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

  /** All that readers would find now, without their having it in memory then. */
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
   * 0 or a negative errno; WAIT where a page is being written back that has to be stable meanwhile: nothing is written
   * then.
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

  /** Makes it so long, if it's shorter: -EFBIG, -ENOSPC. */
  grow(bytes: number): number {
    if (bytes <= this.bytes) return 0;
    if (bytes > LARGEST_BYTES) return -EFBIG;
    if (bytes > this.roomPages * PAGE_BYTES) return -ENOSPC;
    const before = this.bytes;
    const { pages } = this;
    this.bytes = bytes;
    for (let i = pages; i < this.pages; i++) this.#machine.cache.extendFile(this.firstInodePage + i, this.#filesystem);
    // What a mapping had stored beyond the end is none of the file's.
    const tail = Math.min(alignUp(before, PAGE_BYTES), bytes) - before;
    const wasMapped = tail > 0 && !this.#machine.cache.mappingsOf(this.inodePageAt(before)).next().done;
    return wasMapped ? this.write(before, new Uint8Array(tail)) : 0;
  }

  /** ftruncate. WAIT: I/O is on what is cut off; tried again it goes on from there. */
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

  /** At once all of it is on the disk and nothing in the cache, as of a file that was written long ago. */
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

/** A part of a page of a file: from which of its bytes on, where in what is transferred, and how many. */
interface Piece {
  readonly inodePage: number;
  readonly from: number;
  readonly at: number;
  readonly count: number;
}

/** A file as it was opened. */
export interface Descriptor {
  /** Null: the process's own memory (/proc/self/mem), where positions are addresses. */
  readonly file: ModelFile | null;
  readonly readable: boolean;
  readonly writable: boolean;
  /** Writes go to the end, whatever their position. */
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
   * An empty file. Where its filesystem writes in place, it has blocks for all of its room from the start, one after
   * the other.
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
