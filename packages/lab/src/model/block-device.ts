/**
 * A disk, and how I/O gets at memory: get_user_pages, io_uring's buffer table, and requests whose data goes to or from
 * the *frames* that were found when they were submitted, page by page, at the moment they are served.
 *
 * Supported: requests by address and by registered buffer, on blocks and around the cache of a file; tags of
 * registrations; RLIMIT_MEMLOCK.
 *
 * Rejected: registration of a mapping of a file by Linux's design (-EFAULT), and of more pages than the table has room
 * for (-EINVAL); I/O on memory that isn't mapped, or not covered by the registration it names (-EFAULT).
 *
 * Differs from Linux: requests are whole pages; the block layer neither merges nor splits them; there are no IOMMUs and
 * no bounce buffers.
 */

import { EFAULT, EINVAL, violated } from "pinless/portable";
import type { AddressSpace, PageAccess } from "./address-space.js";
import type { Frames } from "./frames.js";
import { chargeSlot, ROOT, unchargeSlot } from "./memlock-account.js";
import type { PageCache } from "./page-cache.js";
import type { PageTables } from "./page-tables.js";
import {
  BLOCK_CHECKSUM,
  BLOCK_CONTENT,
  CHECKSUMS,
  CONTENT,
  FOLIO_DIRTY,
  IN_FLIGHT,
  INODE_PAGE,
  PINS,
  PTE_WRITE,
  REQUEST_BLOCK,
  REQUEST_FIRST_PAGE,
  REQUEST_FREE,
  REQUEST_IN_FLIGHT,
  REQUEST_PAGES,
  REQUEST_REDIRTYING,
  REQUEST_RELEASING,
  REQUEST_SERVED,
  REQUEST_SLOT,
  REQUEST_STATE,
  REQUEST_WORDS,
  REQUEST_WRITE,
  SLOT_EMPTY,
  SLOT_FIRST_PAGE,
  SLOT_LEAVING,
  SLOT_LIVE,
  SLOT_PAGES,
  SLOT_STATE,
  SLOT_USERS,
  SLOT_WORDS,
  type Table,
} from "./tables.js";
import type { Writeback } from "./writeback.js";

/** A request as a scheme submits it. */
export interface Transfer {
  /** A device read: memory goes to the disk. */
  readonly write: boolean;
  readonly firstPage: number;
  readonly pages: number;
  /** The first block on the disk, or the first page of a file (`inFile`). */
  readonly block: number;
  /** -1: not registered. */
  readonly bufferSlot: number;
}

export class BlockDevice {
  readonly #frames: Frames;
  readonly #tables: PageTables;
  readonly #memory: AddressSpace;
  readonly #cache: PageCache;
  readonly #writeback: Writeback;

  constructor(frames: Frames, tables: PageTables, memory: AddressSpace, cache: PageCache, writeback: Writeback) {
    this.#frames = frames;
    this.#tables = tables;
    this.#memory = memory;
    this.#cache = cache;
    this.#writeback = writeback;
  }

  slot(slot: number, word: number): number {
    return this.#frames.words[at(this.#frames.layout.slots, slot) + word]!;
  }

  request(request: number, word: number): number {
    return this.#frames.words[at(this.#frames.layout.requests, request) + word]!;
  }

  /** The frame that page `i` of a request goes to or from. */
  requestFrame(request: number, i: number): number {
    return this.request(request, REQUEST_WORDS + i);
  }

  /**
   * Finds a page for a device (get_user_pages): faults it in, and breaks copy-on-write; a page that is writable already
   * isn't made dirty. The frame, or -EFAULT, -ENOMEM.
   */
  #find(page: number, access: PageAccess): number {
    const deviceWrite = access === "store";
    const frame = this.#tables.frameOf(page);
    // Since 5.19 a pinned page is its process's alone, also for reading (gup_must_unshare).
    const alone = this.#frames.size.sharesPinned === true || !this.#tables.isShared(page);
    const enough = frame >= 0 && (deviceWrite ? this.#tables.is(page, PTE_WRITE) : alone);
    const errno = enough ? 0 : deviceWrite || alone ? this.#memory.fault(page, access) : this.#memory.unshare(page);
    return errno < 0 ? errno : this.#tables.frameOf(page);
  }

  #pin(frame: number, by: number): void {
    if (this.#frames.design === "gup") this.#frames.setFrame(frame, PINS, this.#frames.frame(frame, PINS) + by);
    if (this.#frames.frame(frame, PINS) < 0) violated("STATE", `frame ${frame} has fewer pins than none`);
  }

  /**
   * IORING_REGISTER_BUFFERS_UPDATE of one empty slot: pins the pages for writing, and charges the ring's user. -EFAULT
   * (also for a mapping of a file), or -ENOMEM: no memory, or beyond the user's limit.
   */
  register(slot: number, firstPage: number, pages: number, user = ROOT): number {
    const entry = at(this.#frames.layout.slots, slot);
    if (this.#frames.words[entry + SLOT_STATE] !== SLOT_EMPTY) violated("STATE", `buffer slot ${slot} isn't empty`);
    if (pages > this.#frames.size.bufferPages) return -EINVAL;
    for (let i = 0; i < pages; i++) {
      // Divergence of the proposal: it has no reason to refuse mappings of files, since writeback tells it before it
      // reads them.
      const file = this.#frames.design === "gup" && this.#tables.pte(firstPage + i, INODE_PAGE) !== 0;
      const frame = file ? -EFAULT : this.#find(firstPage + i, "store");
      if (frame < 0) return this.#unregistered(entry, i, frame);
      this.#pin(frame, 1);
      this.#frames.words[entry + SLOT_WORDS + i] = frame;
    }
    this.#frames.words[entry + SLOT_FIRST_PAGE] = firstPage;
    this.#frames.words[entry + SLOT_PAGES] = pages;
    const refused = chargeSlot(this.#frames, entry, user);
    if (refused < 0) return this.#unregistered(entry, pages, refused);
    this.#frames.words[entry + SLOT_STATE] = SLOT_LIVE;
    return 0;
  }

  /** Undoes a registration whose first `pinned` pages were pinned. */
  #unregistered(entry: number, pinned: number, errno: number): number {
    for (let i = 0; i < pinned; i++) this.#unpin(this.#frames.words[entry + SLOT_WORDS + i]!);
    this.#frames.words.fill(0, entry, entry + this.#frames.layout.slots.entryWords);
    return errno;
  }

  /**
   * Empties a slot. True: its pages are released now, and its tag is due; else both come when its last request ends.
   */
  unregister(slot: number): boolean {
    const entry = at(this.#frames.layout.slots, slot);
    if (this.#frames.words[entry + SLOT_STATE] !== SLOT_LIVE) violated("STATE", `buffer slot ${slot} isn't live`);
    this.#frames.words[entry + SLOT_STATE] = SLOT_LEAVING;
    return this.#releaseSlot(slot);
  }

  /** Empties a slot whose pages only `releaseLater` releases, as old kernels do. */
  unregisterLater(slot: number): void {
    this.#frames.words[at(this.#frames.layout.slots, slot) + SLOT_USERS]!++;
    this.unregister(slot);
  }

  releaseLater(slot: number): void {
    this.#frames.words[at(this.#frames.layout.slots, slot) + SLOT_USERS]!--;
    if (!this.#releaseSlot(slot)) violated("STATE", `buffer slot ${slot} is released under I/O`);
  }

  /**
   * Releases a slot's pages, without marking them dirty: the kernel doesn't know any more whether a device wrote to
   * them.
   */
  #releaseSlot(slot: number): boolean {
    const entry = at(this.#frames.layout.slots, slot);
    if (this.#frames.words[entry + SLOT_STATE] !== SLOT_LEAVING || this.#frames.words[entry + SLOT_USERS] !== 0)
      return false;
    unchargeSlot(this.#frames, entry);
    this.#unregistered(entry, this.#frames.words[entry + SLOT_PAGES]!, 0);
    return true;
  }

  #unpin(frame: number): void {
    if (this.#frames.design === "notifier") return;
    this.#pin(frame, -1);
    this.#frames.put(frame);
  }

  /**
   * Looks a registration's page up again (the proposal does, at the next use after an invalidation). In Linux it stays
   * what it was.
   */
  #revalidate(slot: number, i: number): number {
    const entry = at(this.#frames.layout.slots, slot);
    if (this.#frames.design === "gup") return this.#frames.words[entry + SLOT_WORDS + i]!;
    return this.#find(this.#frames.words[entry + SLOT_FIRST_PAGE]! + i, "store");
  }

  /**
   * Submits a request: finds the frames of all pages. The request's number, or -EFAULT, -ENOMEM, -ENOSPC, and nothing
   * has begun then. WAIT: the cache has dirty pages of it, or a page can't be made writable before its writeback ends.
   */
  submit(transfer: Transfer): number {
    const inodePage = inodePageOf(transfer.block);
    const errno = inodePage < 0 ? 0 : this.#writeback.beginDirect(inodePage, transfer.pages, transfer.write);
    if (errno < 0) return errno;
    const request = this.#freeRequest();
    const entry = at(this.#frames.layout.requests, request);
    for (let i = 0; i < transfer.pages; i++) {
      const frame = this.#frameFor(transfer, i);
      if (frame < 0) {
        for (let back = 0; back < i; back++) this.#let(entry, back, transfer.bufferSlot);
        if (inodePage >= 0 && transfer.write) this.#writeback.endDirect(inodePage, transfer.pages, 0);
        return frame;
      }
      this.#frames.words[entry + REQUEST_WORDS + i] = frame;
      if (transfer.bufferSlot < 0) this.#pin(frame, 1);
      this.#frames.setFrame(frame, IN_FLIGHT, this.#frames.frame(frame, IN_FLIGHT) + 1);
      // bio_set_pages_dirty.
      if (this.#frames.design === "gup" && !transfer.write && transfer.bufferSlot < 0)
        this.#frames.setFrameFlags(frame, FOLIO_DIRTY);
      if (inodePage >= 0 && transfer.write) this.#writeback.sumDirect(inodePage + i, frame);
    }
    this.#frames.words[entry + REQUEST_STATE] = REQUEST_IN_FLIGHT;
    this.#frames.words[entry + REQUEST_WRITE] = transfer.write ? 1 : 0;
    this.#frames.words[entry + REQUEST_FIRST_PAGE] = transfer.firstPage;
    this.#frames.words[entry + REQUEST_PAGES] = transfer.pages;
    this.#frames.words[entry + REQUEST_BLOCK] = transfer.block;
    this.#frames.words[entry + REQUEST_SLOT] = transfer.bufferSlot;
    if (transfer.bufferSlot >= 0)
      this.#frames.words[at(this.#frames.layout.slots, transfer.bufferSlot) + SLOT_USERS]!++;
    return request;
  }

  #frameFor({ bufferSlot, firstPage, write }: Transfer, i: number): number {
    if (bufferSlot < 0) return this.#find(firstPage + i, write ? "load" : "store");
    const covers =
      this.slot(bufferSlot, SLOT_STATE) === SLOT_LIVE &&
      firstPage >= this.slot(bufferSlot, SLOT_FIRST_PAGE) &&
      firstPage + i < this.slot(bufferSlot, SLOT_FIRST_PAGE) + this.slot(bufferSlot, SLOT_PAGES);
    return covers ? this.#revalidate(bufferSlot, firstPage + i - this.slot(bufferSlot, SLOT_FIRST_PAGE)) : -EFAULT;
  }

  #freeRequest(): number {
    const { requests } = this.#frames.size;
    const { nextRequest } = this.#frames.layout;
    for (let i = 0; i < requests; i++) {
      const request = (this.#frames.words[nextRequest]! + i) % requests;
      if (this.request(request, REQUEST_STATE) !== REQUEST_FREE) continue;
      this.#frames.words[nextRequest] = (request + 1) % requests;
      return request;
    }
    throw new Error(`more than ${requests} requests are in the kernel`);
  }

  /**
   * Serves the next page of a request, to or from its frame, wherever that is mapped by now. True: it was the last one.
   */
  serve(request: number): boolean {
    const entry = at(this.#frames.layout.requests, request);
    if (this.#frames.words[entry + REQUEST_STATE] !== REQUEST_IN_FLIGHT)
      violated("STATE", `request ${request} isn't in flight`);
    const i = this.#frames.words[entry + REQUEST_SERVED]!++;
    const frame = this.#frames.words[entry + REQUEST_WORDS + i]!;
    const write = this.#frames.words[entry + REQUEST_WRITE] === 1;
    const inodePage = inodePageOf(this.#frames.words[entry + REQUEST_BLOCK]!);
    const block =
      inodePage < 0
        ? this.#frames.words[entry + REQUEST_BLOCK]! + i
        : this.#writeback.directBlock(inodePage + i, write);
    if (write) {
      const summed = inodePage >= 0 && this.#cache.inodeIs(inodePage + i, CHECKSUMS);
      this.#cache.setBlock(block, BLOCK_CONTENT, this.#frames.frame(frame, CONTENT));
      if (!summed) this.#cache.setBlock(block, BLOCK_CHECKSUM, this.#frames.frame(frame, CONTENT));
    } else this.#frames.setFrame(frame, CONTENT, block < 0 ? 0 : this.#cache.block(block, BLOCK_CONTENT));
    return i + 1 === this.#frames.words[entry + REQUEST_PAGES];
  }

  /** True if the next page of a read of a file doesn't match its checksum: the read ends with EIO there. */
  failsChecksum(request: number): boolean {
    const inodePage = inodePageOf(this.request(request, REQUEST_BLOCK));
    const isRead = this.request(request, REQUEST_WRITE) === 0;
    return isRead && inodePage >= 0 && this.#cache.isCorrupt(inodePage + this.request(request, REQUEST_SERVED));
  }

  /**
   * Completes a request. Linux has marked the pages of a device write dirty at submission, unless they're registered;
   * those that writeback has cleaned since it marks again, but later (bio_check_pages_dirty). The proposal marks them
   * now. `release` follows, at once or some time later.
   */
  complete(request: number): void {
    const entry = at(this.#frames.layout.requests, request);
    const pages = this.#frames.words[entry + REQUEST_PAGES]!;
    const write = this.#frames.words[entry + REQUEST_WRITE] === 1;
    const inodePage = inodePageOf(this.#frames.words[entry + REQUEST_BLOCK]!);
    this.#frames.words[entry + REQUEST_STATE] = REQUEST_RELEASING;
    if (write && inodePage >= 0)
      this.#writeback.endDirect(inodePage, pages, this.#frames.words[entry + REQUEST_SERVED]!);
    if (write) return;
    if (this.#frames.design === "notifier") this.#markDirty(entry);
    else if (this.#frames.words[entry + REQUEST_SLOT]! < 0) {
      for (let i = 0; i < pages; i++)
        if (!this.#frames.frameIs(this.#frames.words[entry + REQUEST_WORDS + i]!, FOLIO_DIRTY))
          this.#frames.words[entry + REQUEST_STATE] = REQUEST_REDIRTYING;
    }
  }

  #markDirty(entry: number): void {
    for (let i = 0; i < this.#frames.words[entry + REQUEST_PAGES]!; i++)
      this.#frames.setFrameFlags(this.#frames.words[entry + REQUEST_WORDS + i]!, FOLIO_DIRTY);
  }

  /** Releases a request's pages. The buffer slot whose tag is due by that, or -1. */
  release(request: number): number {
    const entry = at(this.#frames.layout.requests, request);
    const state = this.#frames.words[entry + REQUEST_STATE]!;
    if (state < REQUEST_RELEASING) violated("STATE", `request ${request} has not completed`);
    if (state === REQUEST_REDIRTYING) this.#markDirty(entry);
    const slot = this.#frames.words[entry + REQUEST_SLOT]!;
    for (let i = 0; i < this.#frames.words[entry + REQUEST_PAGES]!; i++) this.#let(entry, i, slot);
    this.#frames.words.fill(0, entry, entry + this.#frames.layout.requests.entryWords);
    if (slot < 0) return -1;
    this.#frames.words[at(this.#frames.layout.slots, slot) + SLOT_USERS]!--;
    return this.#releaseSlot(slot) ? slot : -1;
  }

  #let(entry: number, i: number, slot: number): void {
    const frame = this.#frames.words[entry + REQUEST_WORDS + i]!;
    this.#frames.setFrame(frame, IN_FLIGHT, this.#frames.frame(frame, IN_FLIGHT) - 1);
    if (slot < 0) this.#unpin(frame);
    else this.#frames.put(frame);
  }

  /** The pages of a file that a request writes around the cache. */
  inodePagesOf(request: number): readonly number[] {
    const first = inodePageOf(this.request(request, REQUEST_BLOCK));
    if (first < 0 || this.request(request, REQUEST_WRITE) === 0) return [];
    return Array.from({ length: this.request(request, REQUEST_PAGES) }, (_, i) => first + i);
  }

  isRegistered(request: number): boolean {
    return this.request(request, REQUEST_SLOT) >= 0;
  }

  /** The sum of all pins. */
  get pins(): number {
    let pins = 0;
    for (let frame = 0; frame < this.#frames.size.frames; frame++) pins += this.#frames.frame(frame, PINS);
    return pins;
  }
}

function at(table: Table, entry: number): number {
  return table.at + entry * table.entryWords;
}

/** The first page of the file that a request is on; below 0: it's on blocks. */
function inodePageOf(block: number): number {
  return -block - 1;
}
