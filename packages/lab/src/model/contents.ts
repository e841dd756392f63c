/**
 * Bytes behind the machine's tags, for whoever needs real memory: a program's buffer shows what is in the frame that
 * its page is mapped to. The machine knows nothing of it; where no bytes are needed a tag is just a number.
 *
 * A JavaScript store can't be seen when it happens, so it's noticed before the machine next touches the page, which is
 * also when other mappings of the same page of a file show it; and what the machine does to a page is shown at once.
 * Only the machine's first process is a program with bytes.
 */

import { invariant, PAGE_BYTES } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { BLOCK_CONTENT, CONTENT, INODE_MAPPED, INODE_PAGE, SWAP_CONTENT, VM_MAPPED, VM_WRITE } from "./tables.js";

const PAGE_WORDS = PAGE_BYTES / 4;
/** Contents kept before those that nothing names any more are thrown away. */
const SWEEP_AT = 32_768;

interface Mapping {
  readonly firstPage: number;
  /** Weak: a program's memory goes with its last view. */
  readonly memory: WeakRef<ArrayBufferLike>;
}

/** One content, seen both ways. */
interface Content {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
}

export class Contents {
  readonly #machine: Kernel;
  readonly #byTag = new Map<number, Content>([[0, contentOf(new Uint8Array(PAGE_BYTES))]]);
  /** None: nobody sees bytes, and nothing here costs anything. */
  readonly #mappings: Mapping[] = [];
  /** For every page its mapping's number + 1, and the tag that the program's bytes were last known to be. */
  readonly #mappingOf: Int32Array;
  readonly #shown: Int32Array;
  #nextTag = 1;
  #sweepAt = SWEEP_AT;

  constructor(machine: Kernel) {
    this.#machine = machine;
    this.#mappingOf = new Int32Array(machine.size.pages);
    this.#shown = new Int32Array(machine.size.pages);
  }

  /** From here on `memory`, all zeros, is what the program sees of the pages from `firstPage` on. */
  attach(firstPage: number, memory: ArrayBufferLike): void {
    const id = this.#mappings.push({ firstPage, memory: new WeakRef(memory) });
    this.#mappingOf.fill(id, firstPage, firstPage + memory.byteLength / PAGE_BYTES);
  }

  /** The memory that a page belongs to, and where in it the page begins, in pages. */
  #programMemory(page: number): { memory: ArrayBufferLike; index: number } | undefined {
    const mapping = this.#mappings[this.#mappingOf[page]! - 1];
    const memory = mapping?.memory.deref();
    return mapping === undefined || memory === undefined ? undefined : { memory, index: page - mapping.firstPage };
  }

  /** The bytes of a tag; not to be changed. */
  bytesOf(tag: number): Uint8Array {
    return this.#content(tag).bytes;
  }

  #content(tag: number): Content {
    const content = this.#byTag.get(tag);
    invariant("STATE", content !== undefined, `no content is known by ${tag}`);
    return content;
  }

  /** A tag for these bytes, which are copied. */
  tagOf(bytes: Uint8Array): number {
    if (this.#byTag.size >= this.#sweepAt) this.#sweep();
    const content = contentOf(bytes.slice());
    if (same(content.words, 0, this.#content(0).words)) return 0;
    const tag = this.#nextTag++;
    this.#byTag.set(tag, content);
    return tag;
  }

  /**
   * Notices what the program has stored on pages, of one mapping, since they were last shown; of a file's pages by any
   * mapping.
   */
  notice(firstPage: number, pages: number): void {
    if (this.#mappings.length === 0) return;
    const mapping = this.#programMemory(firstPage);
    if (mapping === undefined) return;
    const words = new Int32Array(mapping.memory);
    for (let i = 0; i < pages; i++) {
      const inodePage = this.#machine.tables.pte(firstPage + i, INODE_PAGE) - 1;
      if (inodePage >= 0) this.noticeFile(inodePage);
      else this.#noticeOne(firstPage + i, words, (mapping.index + i) * PAGE_WORDS);
    }
  }

  #noticeOne(page: number, words: Int32Array, at: number): void {
    if (same(words, at, this.#content(this.#shown[page]!).words) || !this.#machine.tables.is(page, VM_MAPPED)) return;
    const writable = this.#machine.tables.is(page, VM_WRITE);
    invariant("STATE", writable, `a store to page ${page}, which is read-only: a real one is SIGSEGV`);
    const stored = new Uint8Array(words.buffer, 4 * at, PAGE_BYTES);
    const ofFile = this.#machine.tables.pte(page, INODE_PAGE) !== 0;
    const tag = this.tagOf(ofFile ? this.#merged(page, stored) : stored);
    // A program would sleep in the page fault, or have got a SIGBUS: there it stays unnoticed.
    if (this.#machine.memory.store(page, tag) !== 0) return;
    this.#shown[page] = tag;
    if (ofFile) this.overwrite(page);
  }

  /** What was stored by this mapping, in what others have stored meanwhile. */
  #merged(page: number, stored: Uint8Array): Uint8Array {
    const before = this.bytesOf(this.#shown[page]!);
    const merged = this.bytesOf(this.#machine.memory.peek(page)).slice();
    for (let i = 0; i < PAGE_BYTES; i++) if (stored[i] !== before[i]) merged[i] = stored[i]!;
    return merged;
  }

  /** Notices what the program has stored in a page of a file, by whichever mapping; then all of them show the same. */
  noticeFile(inodePage: number): void {
    if (this.#machine.cache.inode(inodePage, INODE_MAPPED) === 0) return;
    for (const page of this.#machine.cache.mappingsOf(inodePage)) {
      const mapping = this.#programMemory(page);
      if (mapping !== undefined) this.#noticeOne(page, new Int32Array(mapping.memory), mapping.index * PAGE_WORDS);
    }
    this.showFile(inodePage);
  }

  /** Shows what is in a page of a file by all of its mappings. */
  showFile(inodePage: number): void {
    for (const page of this.#machine.cache.mappingsOf(inodePage)) this.show(page, 1);
  }

  /** The program's memory from an address on. */
  memoryAt(page: number, offset: number, bytes: number): Uint8Array | undefined {
    const mapping = this.#programMemory(page);
    return mapping && new Uint8Array(mapping.memory, mapping.index * PAGE_BYTES + offset, bytes);
  }

  /** The same for all of the program's memory. */
  noticeAll(): void {
    for (const { firstPage, memory } of this.#mappings) {
      const bytes = memory.deref()?.byteLength ?? 0;
      if (bytes > 0) this.notice(firstPage, bytes / PAGE_BYTES);
    }
  }

  /** Shows the program what is on pages now. */
  show(firstPage: number, pages: number): void {
    if (this.#mappings.length === 0) return;
    for (let page = firstPage; page < firstPage + pages; page++)
      if (this.#machine.memory.peek(page) !== this.#shown[page]) this.overwrite(page);
  }

  /**
   * Shows what is on a page that was written or thrown away just now, whatever the program had stored there that nobody
   * noticed.
   */
  overwrite(page: number): void {
    if (this.#mappings.length === 0) return;
    const tag = this.#machine.memory.peek(page);
    const mapping = this.#programMemory(page);
    if (mapping !== undefined)
      new Uint8Array(mapping.memory, mapping.index * PAGE_BYTES, PAGE_BYTES).set(this.bytesOf(tag));
    this.#shown[page] = tag;
  }

  /** Forgets what neither a frame nor swap nor the disk nor a program holds. */
  #sweep(): void {
    const machine = this.#machine;
    const used = new Set<number>([0, ...this.#shown]);
    for (let i = 0; i < machine.size.frames; i++) used.add(machine.frames.frame(i, CONTENT));
    for (let i = 0; i < machine.size.swapSlots; i++) used.add(machine.frames.swap(i, SWAP_CONTENT));
    for (let i = 0; i < machine.size.blocks; i++) used.add(machine.cache.block(i, BLOCK_CONTENT));
    for (const tag of [...this.#byTag.keys()]) if (!used.has(tag)) this.#byTag.delete(tag);
    this.#sweepAt = Math.max(SWEEP_AT, 2 * this.#byTag.size);
  }
}

function contentOf(bytes: Uint8Array): Content {
  return { bytes, words: new Int32Array(bytes.buffer, bytes.byteOffset, PAGE_WORDS) };
}

function same(words: Int32Array, at: number, content: Int32Array): boolean {
  for (let i = 0; i < PAGE_WORDS; i++) if (words[at + i] !== content[i]) return false;
  return true;
}
