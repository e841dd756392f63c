/**
 * The calls of the engine's memory thread on the machine. A call takes virtual time, goes page by page, and sleeps
 * while the kernel's design makes it wait for I/O in flight.
 *
 * Differs from Linux: a discard raises one event for each call, not for each mapping; move_pages tries every page, also
 * behind one that is held; advice on a whole mapping (fork, huge pages) takes no time.
 */

import {
  EACCES,
  EBADF,
  EBUSY,
  ENOENT,
  ENOMEM,
  EOPNOTSUPP,
  type FilePart,
  type LockKind,
  type MemoryKernel,
  MMAN,
  PAGE_BYTES,
  type Range,
  type Steps,
} from "pinless/portable";
import type { Descriptor } from "./files.js";
import type { Flusher } from "./flusher.js";
import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";
import { HUGE_PAGES, INODE_PAGE, VM_DONTCOPY } from "./tables.js";

const CALL_MS = 0.05;
/** Time after which a sleeping call looks again. */
const LOOK_MS = 0.2;

export interface ModelMemoryHost {
  readonly machine: Machine;
  readonly flusher: Flusher;
  descriptorOf(fd: number): Descriptor | undefined;
  /** Resolves when the event of a discard was read; null if nothing follows the memory. */
  removal(range: Range): Promise<void> | null;
}

export class ModelMemoryKernel implements MemoryKernel {
  readonly hugePageBytes = HUGE_PAGES * PAGE_BYTES;
  readonly #machine: Machine;
  readonly #host: ModelMemoryHost;

  constructor(host: ModelMemoryHost) {
    this.#machine = host.machine;
    this.#host = host;
  }

  nowMs(): number {
    return this.#machine.clock.nowMs;
  }

  *sleep(ms: number): Steps<void> {
    yield new Promise<unknown>((resolve) => this.#machine.clock.after(ms, resolve));
  }

  *#call(): Steps<void> {
    yield* this.sleep(this.#machine.random.stream("memory operation ms").upTo(CALL_MS));
  }

  *madvise(range: Range, advice: number): Steps<number> {
    const { memory, tables } = this.#machine;
    switch (advice) {
      case MMAN.MADV_HUGEPAGE:
        return 0;
      case MMAN.MADV_DONTFORK:
        for (const page of this.#pages(range)) tables.setFlags(page, VM_DONTCOPY);
        return 0;
      case MMAN.MADV_DOFORK:
        for (const page of this.#pages(range)) tables.setFlags(page, 0, VM_DONTCOPY);
        return 0;
      case MMAN.MADV_COLLAPSE:
        return yield* this.#collapse(range);
    }
    yield* this.#call();
    switch (advice) {
      case MMAN.MADV_POPULATE_WRITE:
        return yield* this.#each(range, (page) => memory.populateWrite(page));
      case MMAN.MADV_DONTNEED:
        yield* this.#removal(range);
        return yield* this.#each(range, (page) => this.#discard(page));
      case MMAN.MADV_FREE:
        yield* this.#removal(range);
        return yield* this.#each(range, (page) => this.#noticed(page, () => memory.freeLazily(page)));
      default:
        // MADV_PAGEOUT returns 0 whatever it did.
        return yield* this.#each(range, (page) => this.#noticed(page, () => this.#pageOut(page)));
    }
  }

  *#removal(range: Range): Steps<void> {
    const read = this.#host.removal(range);
    if (read !== null) yield read;
  }

  *#collapse(range: Range): Steps<number> {
    const { memory, contents } = this.#machine;
    const [first, pages] = [this.#machine.pageAt(range.start), pagesIn(range)];
    yield* this.#call();
    contents.notice(first, pages);
    const errno = yield* this.#awake(() => memory.collapse(first, pages));
    contents.show(first, pages);
    return errno;
  }

  *mprotect(range: Range, protection: number): Steps<number> {
    const access = (protection & MMAN.PROT_WRITE) !== 0 ? "readwrite" : "read";
    yield* this.#call();
    return yield* this.#each(range, (page) => this.#noticed(page, () => this.#machine.memory.protect(page, access)));
  }

  *mapOver(range: Range, file: FilePart | null): Steps<number> {
    const { memory, contents } = this.#machine;
    yield* this.#call();
    let inodePage = -1;
    if (file !== null) {
      const opened = this.#host.descriptorOf(file.fd);
      if (!opened?.file) return -EBADF;
      if (!opened.readable || !opened.writable) return -EACCES;
      inodePage = opened.file.inodePageAt(file.position);
    }
    contents.notice(this.#machine.pageAt(range.start), pagesIn(range));
    yield* this.#each(range, (page) => memory.munmap(page));
    for (const page of this.#pages(range)) {
      if (file === null) memory.mmap(page);
      else memory.mapFile(page, inodePage++);
      contents.overwrite(page);
    }
    return 0;
  }

  /** All of the range is one mapping. */
  *msync(range: Range): Steps<number> {
    yield* this.#call();
    const inodePage = this.#machine.tables.pte(this.#machine.pageAt(range.start), INODE_PAGE) - 1;
    let errno = 0;
    yield new Promise<void>((resolve) =>
      this.#host.flusher.sync(inodePage, pagesIn(range), (result) => {
        errno = result;
        resolve();
      }),
    );
    return errno;
  }

  *extendFile(fd: number, bytes: number): Steps<number> {
    yield* this.#call();
    const opened = this.#host.descriptorOf(fd);
    return opened?.file && opened.writable ? opened.file.grow(bytes) : -EBADF;
  }

  /** Allocates space. The model's files have no holes, so it refuses all else, as many filesystems do. */
  *fallocate(fd: number, mode: number, position: number, bytes: number): Steps<number> {
    if (mode !== 0) return -EOPNOTSUPP;
    return yield* this.extendFile(fd, position + bytes);
  }

  *copyRange(): Steps<number> {
    yield* this.#call();
    return -EOPNOTSUPP;
  }

  /** The model's files have no holes. */
  *dataRanges(fd: number, { start, end }: Range): Steps<readonly Range[] | number> {
    yield* this.#call();
    const file = this.#host.descriptorOf(fd)?.file;
    if (!file) return -EBADF;
    return start < file.bytes ? [{ start, end: Math.min(end, file.bytes) }] : [];
  }

  *setLock(fd: number, range: Range, kind: LockKind): Steps<number> {
    yield* this.#call();
    const opened = this.#host.descriptorOf(fd);
    const allowed = kind === "none" || (kind === "exclusive" ? opened?.writable : opened?.readable);
    return opened?.file && allowed ? opened.file.locks.set(opened, range, kind) : -EBADF;
  }

  *movePages(addresses: readonly number[], node: number | null, status: Int32Array): Steps<number> {
    const { tables, frames, memory } = this.#machine;
    if (node !== null) yield* this.#call();
    let held = 0;
    for (const [i, address] of addresses.entries()) {
      const page = this.#machine.pageAt(address);
      const frame = tables.frameOf(page);
      if (frame < 0) status[i] = -ENOENT;
      else if (node === null) status[i] = frames.nodeOf(frame);
      else if (tables.isShared(page)) status[i] = -EACCES;
      else {
        const errno = yield* this.#awake(() => this.#noticed(page, () => memory.migrate(page, node)));
        if (errno === -ENOMEM) return errno;
        status[i] = errno === 0 ? node : -EBUSY;
        if (errno !== 0) held++;
      }
    }
    return held;
  }

  /** Pages that NUMA balancing has hidden are reported with their node here, as on Linux from 6.2 on. */
  touch(): void {}

  leftIn(range: Range): { held: number; shared: number } {
    const { tables } = this.#machine;
    const present = [...this.#pages(range)].filter((page) => tables.frameOf(page) >= 0);
    const shared = present.filter((page) => tables.isShared(page)).length;
    return { held: present.length - shared, shared };
  }

  explainNoHugePage(): null {
    return null;
  }

  /** Discards a page. A file's page stays in the page cache with what was stored. */
  #discard(page: number): number {
    if (this.#machine.tables.pte(page, INODE_PAGE) !== 0) this.#machine.contents.notice(page, 1);
    const result = this.#machine.memory.discard(page);
    if (result === 0) this.#machine.contents.overwrite(page);
    return result;
  }

  #pageOut(page: number): number {
    return !this.#machine.tables.isShared(page) && this.#machine.memory.reclaim(page) === WAIT ? WAIT : 0;
  }

  /** An operation that does otherwise with a page that was written. */
  #noticed(page: number, operate: () => number): number {
    this.#machine.contents.notice(page, 1);
    const result = operate();
    this.#machine.contents.show(page, 1);
    return result;
  }

  /** Does a step of each page, up to the first that is refused. */
  *#each(range: Range, operate: (page: number) => number): Steps<number> {
    for (const page of this.#pages(range)) {
      const errno = yield* this.#awake(() => operate(page));
      if (errno !== 0) return errno;
    }
    return 0;
  }

  /** Repeats a step for as long as it has to sleep. */
  *#awake(operate: () => number): Steps<number> {
    for (;;) {
      const errno = operate();
      if (errno !== WAIT) return errno;
      yield* this.sleep(LOOK_MS);
    }
  }

  *#pages(range: Range): Generator<number> {
    const first = this.#machine.pageAt(range.start);
    for (let page = first; page < first + pagesIn(range); page++) yield page;
  }
}

function pagesIn({ start, end }: Range): number {
  return Math.ceil((end - start) / PAGE_BYTES);
}
