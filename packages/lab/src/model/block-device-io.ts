/**
 * How I/O gets at memory, and a disk that serves it: get_user_pages, io_uring's buffer table, and requests whose data goes to or from the
 * *frames* that were found when they were submitted, page by page, at the moment they are served.
 *
 * What isn't modelled: requests smaller than a page, merging and splitting of requests by the block layer, IOMMUs, transparent
 * bounce buffers.
 */

import { EFAULT, EINVAL, violated } from "pinless/portable";
import { chargeSlot, ROOT, unchargeSlot } from "./memlock-account.js";
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
import { MachineWriteback } from "./writeback.js";

/** One request as a scheme hands it over. */
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

export class MachineIo extends MachineWriteback {
  slot(slot: number, word: number): number {
    return this.words[at(this.layout.slots, slot) + word]!;
  }

  request(request: number, word: number): number {
    return this.words[at(this.layout.requests, request) + word]!;
  }

  /** The frame that page `i` of a request goes to or from. */
  requestFrame(request: number, i: number): number {
    return this.request(request, REQUEST_WORDS + i);
  }

  /**
   * A page for a device (get_user_pages): faulted in, broken out of copy-on-write, but not made dirty where it's writable already.
   * The frame, or -EFAULT, -ENOMEM.
   */
  #find(page: number, deviceWrite: boolean): number {
    const frame = this.frameOf(page);
    // Since 5.19 a pinned page is its process's alone, also for reading (gup_must_unshare).
    const alone = this.size.sharesPinned === true || !this.isShared(page);
    const enough = frame >= 0 && (deviceWrite ? this.is(page, PTE_WRITE) : alone);
    const errno = enough ? 0 : deviceWrite || alone ? this.fault(page, deviceWrite) : this.unshare(page);
    return errno < 0 ? errno : this.frameOf(page);
  }

  #pin(frame: number, by: number): void {
    if (this.design === "gup") this.setFrame(frame, PINS, this.frame(frame, PINS) + by);
    if (this.frame(frame, PINS) < 0) violated("STATE", `frame ${frame} has fewer pins than none`);
  }

  /**
   * IORING_REGISTER_BUFFERS_UPDATE of one empty slot: pins the pages for writing, and charges whose ring it is. -EFAULT (also for a mapping of a file), or -ENOMEM: no
   * memory, or beyond the user's limit.
   */
  register(slot: number, firstPage: number, pages: number, user = ROOT): number {
    const entry = at(this.layout.slots, slot);
    if (this.words[entry + SLOT_STATE] !== SLOT_EMPTY) violated("STATE", `buffer slot ${slot} isn't empty`);
    if (pages > this.size.bufferPages) return -EINVAL;
    for (let i = 0; i < pages; i++) {
      // The proposal has no reason to refuse mappings of files: writeback can tell it when they're about to be read.
      const file = this.design === "gup" && this.pte(firstPage + i, INODE_PAGE) !== 0;
      const frame = file ? -EFAULT : this.#find(firstPage + i, true);
      if (frame < 0) return this.#unregistered(entry, i, frame);
      this.#pin(frame, 1);
      this.words[entry + SLOT_WORDS + i] = frame;
    }
    this.words[entry + SLOT_FIRST_PAGE] = firstPage;
    this.words[entry + SLOT_PAGES] = pages;
    const refused = chargeSlot(this, entry, user);
    if (refused < 0) return this.#unregistered(entry, pages, refused);
    this.words[entry + SLOT_STATE] = SLOT_LIVE;
    return 0;
  }

  /** Nothing is left of a registration whose first pages were pinned. */
  #unregistered(entry: number, pinned: number, errno: number): number {
    for (let i = 0; i < pinned; i++) this.#unpin(this.words[entry + SLOT_WORDS + i]!);
    this.words.fill(0, entry, entry + this.layout.slots.entryWords);
    return errno;
  }

  /** Empties a slot. True: its pages are released now, and its tag is due; else both come with the end of its last request. */
  unregister(slot: number): boolean {
    const entry = at(this.layout.slots, slot);
    if (this.words[entry + SLOT_STATE] !== SLOT_LIVE) violated("STATE", `buffer slot ${slot} isn't live`);
    this.words[entry + SLOT_STATE] = SLOT_LEAVING;
    return this.#releaseSlot(slot);
  }

  /** Empties a slot whose pages are let go of by `releaseLater` only, the way of old kernels. */
  unregisterLater(slot: number): void {
    this.words[at(this.layout.slots, slot) + SLOT_USERS]!++;
    this.unregister(slot);
  }

  releaseLater(slot: number): void {
    this.words[at(this.layout.slots, slot) + SLOT_USERS]!--;
    if (!this.#releaseSlot(slot)) violated("STATE", `buffer slot ${slot} is released under I/O`);
  }

  /** The kernel doesn't mark the pages dirty: whether the device wrote to them isn't known any more. */
  #releaseSlot(slot: number): boolean {
    const entry = at(this.layout.slots, slot);
    if (this.words[entry + SLOT_STATE] !== SLOT_LEAVING || this.words[entry + SLOT_USERS] !== 0) return false;
    unchargeSlot(this, entry);
    this.#unregistered(entry, this.words[entry + SLOT_PAGES]!, 0);
    return true;
  }

  #unpin(frame: number): void {
    if (this.design === "notifier") return;
    this.#pin(frame, -1);
    this.putFrame(frame);
  }

  /**
   * Looks a registration's pages up again (the proposal: at the next use, if an invalidation has happened). In Linux they stay what
   * they were.
   */
  #revalidate(slot: number, i: number): number {
    const entry = at(this.layout.slots, slot);
    if (this.design === "gup") return this.words[entry + SLOT_WORDS + i]!;
    return this.#find(this.words[entry + SLOT_FIRST_PAGE]! + i, true);
  }

  /**
   * Submission: finds the frames of all pages. The request's number, or -EFAULT, -ENOMEM, -ENOSPC; nothing has begun then. WAIT: the cache has
   * what isn't on the disk yet, or a page can't be made writable before its writeback ends.
   */
  submit(transfer: Transfer): number {
    const inodePage = inodePageOf(transfer.block);
    const errno = inodePage < 0 ? 0 : this.beginDirect(inodePage, transfer.pages, transfer.write);
    if (errno < 0) return errno;
    const request = this.#freeRequest();
    const entry = at(this.layout.requests, request);
    for (let i = 0; i < transfer.pages; i++) {
      const frame = this.#frameFor(transfer, i);
      if (frame < 0) {
        for (let back = 0; back < i; back++) this.#let(entry, back, transfer.bufferSlot);
        if (inodePage >= 0 && transfer.write) this.endDirect(inodePage, transfer.pages, 0);
        return frame;
      }
      this.words[entry + REQUEST_WORDS + i] = frame;
      if (transfer.bufferSlot < 0) this.#pin(frame, 1);
      this.setFrame(frame, IN_FLIGHT, this.frame(frame, IN_FLIGHT) + 1);
      // bio_set_pages_dirty.
      if (this.design === "gup" && !transfer.write && transfer.bufferSlot < 0) this.setFrameFlags(frame, FOLIO_DIRTY);
      if (inodePage >= 0 && transfer.write) this.sumDirect(inodePage + i, frame);
    }
    this.words[entry + REQUEST_STATE] = REQUEST_IN_FLIGHT;
    this.words[entry + REQUEST_WRITE] = transfer.write ? 1 : 0;
    this.words[entry + REQUEST_FIRST_PAGE] = transfer.firstPage;
    this.words[entry + REQUEST_PAGES] = transfer.pages;
    this.words[entry + REQUEST_BLOCK] = transfer.block;
    this.words[entry + REQUEST_SLOT] = transfer.bufferSlot;
    if (transfer.bufferSlot >= 0) this.words[at(this.layout.slots, transfer.bufferSlot) + SLOT_USERS]!++;
    return request;
  }

  #frameFor({ bufferSlot, firstPage, write }: Transfer, i: number): number {
    if (bufferSlot < 0) return this.#find(firstPage + i, !write);
    const covers =
      this.slot(bufferSlot, SLOT_STATE) === SLOT_LIVE &&
      firstPage >= this.slot(bufferSlot, SLOT_FIRST_PAGE) &&
      firstPage + i < this.slot(bufferSlot, SLOT_FIRST_PAGE) + this.slot(bufferSlot, SLOT_PAGES);
    return covers ? this.#revalidate(bufferSlot, firstPage + i - this.slot(bufferSlot, SLOT_FIRST_PAGE)) : -EFAULT;
  }

  #freeRequest(): number {
    const { requests } = this.size;
    const { nextRequest } = this.layout;
    for (let i = 0; i < requests; i++) {
      const request = (this.words[nextRequest]! + i) % requests;
      if (this.request(request, REQUEST_STATE) !== REQUEST_FREE) continue;
      this.words[nextRequest] = (request + 1) % requests;
      return request;
    }
    throw new Error(`more than ${requests} requests are in the kernel`);
  }

  /** The next page of a request goes to or from its frame, wherever that is mapped by now. True: it was the last one. */
  serve(request: number): boolean {
    const entry = at(this.layout.requests, request);
    if (this.words[entry + REQUEST_STATE] !== REQUEST_IN_FLIGHT)
      violated("STATE", `request ${request} isn't in flight`);
    const i = this.words[entry + REQUEST_SERVED]!++;
    const frame = this.words[entry + REQUEST_WORDS + i]!;
    const write = this.words[entry + REQUEST_WRITE] === 1;
    const inodePage = inodePageOf(this.words[entry + REQUEST_BLOCK]!);
    const block = inodePage < 0 ? this.words[entry + REQUEST_BLOCK]! + i : this.directBlock(inodePage + i, write);
    if (write) {
      const summed = inodePage >= 0 && this.inodeIs(inodePage + i, CHECKSUMS);
      this.setBlock(block, BLOCK_CONTENT, this.frame(frame, CONTENT));
      if (!summed) this.setBlock(block, BLOCK_CHECKSUM, this.frame(frame, CONTENT));
    } else this.setFrame(frame, CONTENT, block < 0 ? 0 : this.block(block, BLOCK_CONTENT));
    return i + 1 === this.words[entry + REQUEST_PAGES];
  }

  /** Whether the next page of a read of a file doesn't match its checksum: it ends with EIO there. */
  failsChecksum(request: number): boolean {
    const inodePage = inodePageOf(this.request(request, REQUEST_BLOCK));
    const isRead = this.request(request, REQUEST_WRITE) === 0;
    return isRead && inodePage >= 0 && this.isCorrupt(inodePage + this.request(request, REQUEST_SERVED));
  }

  /**
   * The completion. Linux has marked what a device writes dirty at submission, unless it's registered; what was cleaned meanwhile, by
   * writeback, it marks again, but later (bio_check_pages_dirty). The proposal marks it now. `release` follows, at once or some time later,
   * as the kernel has it.
   */
  complete(request: number): void {
    const entry = at(this.layout.requests, request);
    const pages = this.words[entry + REQUEST_PAGES]!;
    const write = this.words[entry + REQUEST_WRITE] === 1;
    const inodePage = inodePageOf(this.words[entry + REQUEST_BLOCK]!);
    this.words[entry + REQUEST_STATE] = REQUEST_RELEASING;
    if (write && inodePage >= 0) this.endDirect(inodePage, pages, this.words[entry + REQUEST_SERVED]!);
    if (write) return;
    if (this.design === "notifier") this.#markDirty(entry);
    else if (this.words[entry + REQUEST_SLOT]! < 0) {
      for (let i = 0; i < pages; i++)
        if (!this.frameIs(this.words[entry + REQUEST_WORDS + i]!, FOLIO_DIRTY))
          this.words[entry + REQUEST_STATE] = REQUEST_REDIRTYING;
    }
  }

  #markDirty(entry: number): void {
    for (let i = 0; i < this.words[entry + REQUEST_PAGES]!; i++)
      this.setFrameFlags(this.words[entry + REQUEST_WORDS + i]!, FOLIO_DIRTY);
  }

  /** The kernel lets go of the request's pages. The buffer slot whose tag is due now, or -1. */
  release(request: number): number {
    const entry = at(this.layout.requests, request);
    const state = this.words[entry + REQUEST_STATE]!;
    if (state < REQUEST_RELEASING) violated("STATE", `request ${request} has not completed`);
    if (state === REQUEST_REDIRTYING) this.#markDirty(entry);
    const slot = this.words[entry + REQUEST_SLOT]!;
    for (let i = 0; i < this.words[entry + REQUEST_PAGES]!; i++) this.#let(entry, i, slot);
    this.words.fill(0, entry, entry + this.layout.requests.entryWords);
    if (slot < 0) return -1;
    this.words[at(this.layout.slots, slot) + SLOT_USERS]!--;
    return this.#releaseSlot(slot) ? slot : -1;
  }

  #let(entry: number, i: number, slot: number): void {
    const frame = this.words[entry + REQUEST_WORDS + i]!;
    this.setFrame(frame, IN_FLIGHT, this.frame(frame, IN_FLIGHT) - 1);
    if (slot < 0) this.#unpin(frame);
    else this.putFrame(frame);
  }

  /** Of the file that a request writes around the cache. */
  inodePagesOf(request: number): readonly number[] {
    const first = inodePageOf(this.request(request, REQUEST_BLOCK));
    if (first < 0 || this.request(request, REQUEST_WRITE) === 0) return [];
    return Array.from({ length: this.request(request, REQUEST_PAGES) }, (_, i) => first + i);
  }

  isRegistered(request: number): boolean {
    return this.request(request, REQUEST_SLOT) >= 0;
  }

  /** All pins there are. */
  get pins(): number {
    let pins = 0;
    for (let frame = 0; frame < this.size.frames; frame++) pins += this.frame(frame, PINS);
    return pins;
  }
}

function at(table: Table, entry: number): number {
  return table.at + entry * table.entryWords;
}

/** The first page of the file that a request is on, or below 0: it's on blocks. */
function inodePageOf(block: number): number {
  return -block - 1;
}
