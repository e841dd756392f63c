/**
 * The memory port on the machine: operations take time, go huge page by huge page, and are tried again while the kernel
 * says so.
 */

import {
  alignDown,
  alignUp,
  EACCES,
  EAGAIN,
  EBADF,
  EINVAL,
  explainRefusal,
  intersect,
  LARGEST_PAGE_BYTES,
  type Mapping,
  type Memory,
  type MemoryRequest,
  type MemoryResult,
  PAGE_BYTES,
  type Range,
} from "pinless/portable";
import type { Descriptor } from "./files.js";
import type { Flusher } from "./flusher.js";
import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";
import { INODE_PAGE, VM_DONTCOPY } from "./tables.js";

const HUGE_PAGE_BYTES = 2 << 20;
const HUGE_PAGES = HUGE_PAGE_BYTES / PAGE_BYTES;
/** As the real one does: for 20 ms, from 0.2 ms on ever more rarely, and so many times at least. */
const PATIENCE_MS = 20;
const LEAST_TRIES = 7;
const FIRST_WAIT_MS = 0.2;

export class ModelMemory implements Memory {
  readonly #machine: Machine;
  readonly #flusher: Flusher;
  readonly #descriptorOf: (fd: number) => Descriptor | undefined;
  readonly #removal: (range: Range) => Promise<void> | null;

  /**
   * `removal`: resolves when whoever follows what becomes of memory has read that a range is discarded; null where
   * nobody follows it.
   */
  constructor(
    machine: Machine,
    flusher: Flusher,
    descriptorOf: (fd: number) => Descriptor | undefined,
    removal: (range: Range) => Promise<void> | null,
  ) {
    this.#machine = machine;
    this.#flusher = flusher;
    this.#descriptorOf = descriptorOf;
    this.#removal = removal;
  }

  map(bytes: number): Mapping {
    const buffer = this.#machine.newMemory(alignUp(bytes, LARGEST_PAGE_BYTES));
    return { buffer, address: this.#machine.mapMemory(buffer) };
  }

  async run(request: MemoryRequest): Promise<MemoryResult> {
    const range = { start: request.address, end: request.address + request.bytes };
    // Nothing is left of a discard inside one page.
    if (request.bytes === 0) return { pages: 0, done: 0, busy: 0, errno: 0, huge: [] };
    const pages = Math.ceil(range.end / PAGE_BYTES) - Math.floor(range.start / PAGE_BYTES);
    if (isOfFile(request.operation)) {
      await this.#pause("memory operation ms", 0.05);
      const refused = await this.#ofFile(request, pages);
      const done = refused === 0 ? pages : 0;
      return { pages, done, busy: pages - done, errno: refused, huge: null };
    }
    const huge: Range[] = [];
    let done = 0;
    let errno = 0;
    for (const piece of piecesOf(range)) {
      await this.#pause("memory operation ms", 0.05);
      const discards = request.operation === "discard" || request.operation === "discardLazily";
      const read = discards ? this.#removal(piece) : null;
      if (read !== null) await read;
      const { pagesDone, errno: refused, isHuge } = await this.#piece(request, piece);
      done += pagesDone;
      if (refused !== 0) errno = refused;
      if (isHuge) huge.push(piece);
    }
    const result = { pages, done, busy: pages - done, errno, huge };
    return result.busy === 0 ? result : { ...result, reason: explainRefusal(request.operation, errno) };
  }

  #pause(name: string, mostMs: number): Promise<unknown> {
    const { clock, random } = this.#machine;
    return new Promise((resolve) => clock.after(random.stream(name).upTo(mostMs), resolve));
  }

  async #piece(
    { operation, hugePages, inherit, node }: MemoryRequest,
    piece: Range,
  ): Promise<{ pagesDone: number; errno: number; isHuge: boolean }> {
    const machine = this.#machine;
    const first = machine.pageAt(piece.start);
    const count = (piece.end - piece.start) / PAGE_BYTES;
    const whole = count === HUGE_PAGES;
    switch (operation) {
      case "prepare": {
        for (let page = first; inherit !== true && page < first + count; page++)
          machine.tables.setFlags(page, VM_DONTCOPY);
        const populated = await this.#each(first, count, (page) => machine.memory.populateWrite(page));
        const collapsed = hugePages !== false && whole ? machine.memory.collapse(first, count) : -EINVAL;
        return { ...populated, isHuge: collapsed === 0 };
      }
      case "discard":
        return this.#each(first, count, (page) => this.#discard(page));
      case "discardLazily":
        return this.#each(first, count, (page) => this.#noticed(page, () => machine.memory.freeLazily(page)));
      case "pageOut":
        return this.#each(first, count, (page) => this.#noticed(page, () => this.#pageOut(page)));
      case "migrate":
        return this.#each(first, count, (page) => this.#noticed(page, () => this.#migrate(page, node!)));
      case "makeReadOnly":
        return this.#each(first, count, (page) => this.#noticed(page, () => machine.memory.protect(page, false)));
      case "makeWritable":
        return this.#each(first, count, (page) => machine.memory.protect(page, true));
      case "collapse": {
        machine.contents.notice(first, count);
        const errno = whole ? await this.#persistently(() => this.#collapse(first, count)) : -EINVAL;
        machine.contents.show(first, count);
        return { pagesDone: errno === 0 ? count : 0, errno, isHuge: errno === 0 };
      }
      default:
        return { pagesDone: 0, errno: -EINVAL, isHuge: false };
    }
  }

  /** The operations that are one call for all of a range. */
  async #ofFile({ operation, address, bytes, file, inherit }: MemoryRequest, pages: number): Promise<number> {
    const opened = file && this.#descriptorOf(file.fd);
    const first = this.#machine.pageAt(address);
    switch (operation) {
      case "extendFile":
        return opened?.file && opened.writable ? opened.file.grow(file!.position + bytes) : -EBADF;
      case "mapFile":
        if (!opened?.file) return -EBADF;
        if (!opened.readable || !opened.writable) return -EACCES;
        return this.#mapOver(first, pages, opened.file.inodePageAt(file!.position), inherit === true);
      case "mapZeros":
        return this.#mapOver(first, pages, -1);
      // All of it is one mapping.
      default: {
        const inodePage = this.#machine.tables.pte(first, INODE_PAGE) - 1;
        return new Promise((resolve) => this.#flusher.sync(inodePage, pages, resolve));
      }
    }
  }

  /** mmap(MAP_FIXED), of a file's pages from `inodePage` on, or of anonymous memory (-1). */
  async #mapOver(first: number, pages: number, inodePage: number, inherit = true): Promise<number> {
    const machine = this.#machine;
    machine.contents.notice(first, pages);
    const { errno } = await this.#each(first, pages, (page) => machine.memory.munmap(page));
    for (let i = 0; i < pages && errno === 0; i++) {
      if (inodePage < 0) machine.memory.mmap(first + i);
      else machine.memory.mapFile(first + i, inodePage + i);
      if (!inherit) machine.tables.setFlags(first + i, VM_DONTCOPY);
      machine.contents.overwrite(first + i);
    }
    return errno;
  }

  /** Memory that userfaultfd follows is refused while a page is missing: those are brought back first. */
  #collapse(first: number, count: number): number {
    const machine = this.#machine;
    for (let page = first; page < first + count; page++) {
      const errno = machine.tables.frameOf(page) < 0 ? machine.memory.populateWrite(page) : 0;
      if (errno < 0) return errno;
    }
    return machine.memory.collapse(first, count);
  }

  /** Discards a page. A file's page stays in the page cache with what was stored. */
  #discard(page: number): number {
    if (this.#machine.tables.pte(page, INODE_PAGE) !== 0) this.#machine.contents.notice(page, 1);
    const result = this.#machine.memory.discard(page);
    if (result === 0) this.#machine.contents.overwrite(page);
    return result;
  }

  /** MADV_PAGEOUT leaves what other processes have too. */
  #pageOut(page: number): number {
    return this.#machine.tables.isShared(page) ? -EAGAIN : this.#machine.memory.reclaim(page);
  }

  /** move_pages neither, but refuses at once. */
  #migrate(page: number, node: number): number {
    return this.#machine.tables.isShared(page) ? -EACCES : this.#machine.memory.migrate(page, node);
  }

  /** An operation that does otherwise with a page that was written. */
  #noticed(page: number, operate: () => number): number {
    this.#machine.contents.notice(page, 1);
    const result = operate();
    this.#machine.contents.show(page, 1);
    return result;
  }

  async #each(
    first: number,
    count: number,
    operate: (page: number) => number,
  ): Promise<{ pagesDone: number; errno: number; isHuge: boolean }> {
    let pagesDone = 0;
    let errno = 0;
    for (let page = first; page < first + count; page++) {
      let result = operate(page);
      if (result === -EAGAIN || result === WAIT) result = await this.#persistently(() => operate(page));
      if (result === 0) pagesDone++;
      else errno = result;
    }
    return { pagesDone, errno, isHuge: false };
  }

  /** EAGAIN has an end; an invalidation that waits for I/O waits for as long as that takes. */
  async #persistently(operate: () => number): Promise<number> {
    const { clock } = this.#machine;
    const began = clock.nowMs;
    let waitMs = FIRST_WAIT_MS;
    for (let tries = 1; ; tries++, waitMs *= 2) {
      const result = operate();
      if (result !== -EAGAIN && result !== WAIT) return result;
      if (result === -EAGAIN && tries >= LEAST_TRIES && clock.nowMs - began + waitMs > PATIENCE_MS) return result;
      await new Promise<unknown>((resolve) => clock.after(Math.min(waitMs, 1), resolve));
    }
  }

  explainNoRoom(bytes: number): string | null {
    const most = this.#machine.size.frames * PAGE_BYTES;
    return bytes <= most ? null : `an arena of ${bytes} bytes: the machine has ${most}`;
  }

  explainNoCollapse(): null {
    return null;
  }

  /** Nothing forbids it here, be it to the only node. */
  explainNoMigration(): null {
    return null;
  }

  nodes(): readonly number[] {
    return Array.from({ length: this.#machine.frames.nodes }, (_, node) => node);
  }

  hasSwap(): boolean {
    return this.#machine.size.swapSlots > 0;
  }
}

function* piecesOf(range: Range): Generator<Range> {
  for (let at = alignDown(range.start, HUGE_PAGE_BYTES); at < range.end; at += HUGE_PAGE_BYTES)
    yield intersect(range, { start: at, end: at + HUGE_PAGE_BYTES });
}

function isOfFile(operation: MemoryRequest["operation"]): boolean {
  return operation === "extendFile" || operation === "mapFile" || operation === "mapZeros" || operation === "writeback";
}
