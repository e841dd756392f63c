/**
 * Bytes behind the machine's content tags, for tests and simulations that need real memory: a program's buffer shows
 * the bytes of the frame that its page is mapped to. The machine itself doesn't use bytes; without them a tag is only a
 * number.
 *
 * A store by JavaScript can't be observed when it happens. It's noticed before the machine next touches the page; other
 * mappings of the same file page show it from then on. Changes that the machine makes to a page are shown at once. Only
 * the first process of the machine is a program with bytes.
 */

import { invariant, PAGE_BYTES } from "pinless/portable";
import type { Kernel } from "./model-kernel.js";
import { BLOCK_CONTENT, CONTENT, INODE_MAPPED, INODE_PAGE, SWAP_CONTENT, VM_MAPPED, VM_WRITE } from "./tables.js";

const PAGE_WORDS = PAGE_BYTES / 4;
/** Number of contents at which unreferenced ones are dropped. */
const SWEEP_AT = 32_768;

interface Mapping {
  readonly firstPage: number;
  /** Weak, so that a program's memory is freed with its last view. */
  readonly memory: WeakRef<ArrayBufferLike>;
}

/** One page of content, as bytes and as words for fast comparison. */
interface Content {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
}

export class Contents {
  readonly #machine: Kernel;
  readonly #byTag = new Map<number, Content>([[0, contentOf(new Uint8Array(PAGE_BYTES))]]);
  /** Memory of the program. If it's empty, no bytes are kept, and every method returns at once. */
  readonly #mappings: Mapping[] = [];
  /** For each page: the number of its mapping + 1, and the tag of the bytes that the program last saw or stored. */
  readonly #mappingOf: Int32Array;
  readonly #shown: Int32Array;
  #nextTag = 1;
  #sweepAt = SWEEP_AT;

  constructor(machine: Kernel) {
    this.#machine = machine;
    this.#mappingOf = new Int32Array(machine.size.pages);
    this.#shown = new Int32Array(machine.size.pages);
  }

  /** Makes `memory`, which is all zeros, the program's view of the pages from `firstPage` on. */
  attach(firstPage: number, memory: ArrayBufferLike): void {
    const id = this.#mappings.push({ firstPage, memory: new WeakRef(memory) });
    this.#mappingOf.fill(id, firstPage, firstPage + memory.byteLength / PAGE_BYTES);
  }

  /** Finds the program's memory at a page, and the index of the page within that memory. */
  #programMemory(page: number): { memory: ArrayBufferLike; index: number } | undefined {
    const mapping = this.#mappings[this.#mappingOf[page]! - 1];
    const memory = mapping?.memory.deref();
    return mapping === undefined || memory === undefined ? undefined : { memory, index: page - mapping.firstPage };
  }

  /** Returns the bytes of a tag, which mustn't be changed. */
  bytesOf(tag: number): Uint8Array {
    return this.#content(tag).bytes;
  }

  #content(tag: number): Content {
    const content = this.#byTag.get(tag);
    invariant("STATE", content !== undefined, `no content is known by ${tag}`);
    return content;
  }

  /** Makes a tag for a copy of these bytes. */
  tagOf(bytes: Uint8Array): number {
    if (this.#byTag.size >= this.#sweepAt) this.#sweep();
    const content = contentOf(bytes.slice());
    if (same(content.words, 0, this.#content(0).words)) return 0;
    const tag = this.#nextTag++;
    this.#byTag.set(tag, content);
    return tag;
  }

  /**
   * Detects stores of the program to pages of one mapping since they were last shown. For pages of a file, it detects
   * stores by every mapping of them.
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
    // In a real machine the program would sleep in the page fault, or get SIGBUS. Here the store stays unnoticed.
    if (this.#machine.memory.store(page, tag) !== 0) return;
    this.#shown[page] = tag;
    if (ofFile) this.overwrite(page);
  }

  /** Merges the stores of one mapping into the content that other mappings have stored meanwhile. */
  #merged(page: number, stored: Uint8Array): Uint8Array {
    const before = this.bytesOf(this.#shown[page]!);
    const merged = this.bytesOf(this.#machine.memory.peek(page)).slice();
    for (let i = 0; i < PAGE_BYTES; i++) if (stored[i] !== before[i]) merged[i] = stored[i]!;
    return merged;
  }

  /** Detects stores of the program to a page of a file by any mapping, and shows the result by all of them. */
  noticeFile(inodePage: number): void {
    if (this.#machine.cache.inode(inodePage, INODE_MAPPED) === 0) return;
    for (const page of this.#machine.cache.mappingsOf(inodePage)) {
      const mapping = this.#programMemory(page);
      if (mapping !== undefined) this.#noticeOne(page, new Int32Array(mapping.memory), mapping.index * PAGE_WORDS);
    }
    this.showFile(inodePage);
  }

  /** Shows the content of a file page by all of its mappings. */
  showFile(inodePage: number): void {
    for (const page of this.#machine.cache.mappingsOf(inodePage)) this.show(page, 1);
  }

  /** Returns the program's memory from an address on. */
  memoryAt(page: number, offset: number, bytes: number): Uint8Array | undefined {
    const mapping = this.#programMemory(page);
    return mapping && new Uint8Array(mapping.memory, mapping.index * PAGE_BYTES + offset, bytes);
  }

  /** Detects stores of the program to any of its memory. */
  noticeAll(): void {
    for (const { firstPage, memory } of this.#mappings) {
      const bytes = memory.deref()?.byteLength ?? 0;
      if (bytes > 0) this.notice(firstPage, bytes / PAGE_BYTES);
    }
  }

  /** Shows the program the present content of pages. */
  show(firstPage: number, pages: number): void {
    if (this.#mappings.length === 0) return;
    for (let page = firstPage; page < firstPage + pages; page++)
      if (this.#machine.memory.peek(page) !== this.#shown[page]) this.overwrite(page);
  }

  /**
   * Shows the content of a page that was just written or discarded. Stores of the program that weren't noticed before
   * are lost.
   */
  overwrite(page: number): void {
    if (this.#mappings.length === 0) return;
    const tag = this.#machine.memory.peek(page);
    const mapping = this.#programMemory(page);
    if (mapping !== undefined)
      new Uint8Array(mapping.memory, mapping.index * PAGE_BYTES, PAGE_BYTES).set(this.bytesOf(tag));
    this.#shown[page] = tag;
  }

  /** Drops contents that no frame, swap slot, disk block or program refers to. */
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
