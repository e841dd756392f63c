/**
 * The machine's state: one flat Int32Array, so that it can be copied, hashed and put back as bytes. This file says what
 * lies where.
 *
 * A page's or block's content is a tag: a number that says what was last written there; 0 is zeros.
 */

/** What holds a page still while I/O uses it: the two designs that the machine's kernel can have. */
export type KernelDesign =
  /** Linux: get_user_pages takes references, for a registration until somebody drops it. */
  | "gup"
  /**
   * The proposal: nothing is held. Invalidations wait for I/O in flight; a registration looks its pages up again after
   * one.
   */
  | "notifier";

export interface MachineSize {
  /** Physical frames, and NUMA nodes that share them equally, in order. Default 1. */
  readonly frames: number;
  readonly nodes?: number;
  /** Pages of a process's address space. */
  readonly pages: number;
  /**
   * Processes there can be at a time. Default 1. A page's number counts through all of them: process × pages + page.
   */
  readonly processes?: number;
  /**
   * Fork as it was before Linux 5.12: children share pinned pages too, so that the parent's next store leaves its frame
   * to the device.
   */
  readonly sharesPinned?: boolean;
  readonly swapSlots: number;
  /** Blocks of the disk, of a page each. */
  readonly blocks: number;
  /** Slots of the buffer table, and pages that one registration covers at most. */
  readonly bufferSlots: number;
  readonly bufferPages: number;
  /** Requests in the kernel at a time, and pages of one at most. */
  readonly requests: number;
  readonly requestPages: number;
  /**
   * RLIMIT_MEMLOCK in pages, one for everything of a user; and how many users have it. Default: there's root only, who
   * has no limit.
   */
  readonly memlock?: { readonly users: number; readonly pages: number };
  /** Pages of all files together; a file is a row of them. Without, there are no files, and no words for them. */
  readonly inodePages?: number;
}

/** Words of a frame. */
export const CONTENT = 0;
/** References by get_user_pages (long and short term). */
export const PINS = 1;
/** Page table entries that map it. */
export const MAPS = 2;
/** I/O in flight on it, by whatever way its address was found. */
export const IN_FLIGHT = 3;
export const FRAME_FLAGS = 4;
/** What it's a copy of: swap slot + 1, or -(inode page + 1) in the page cache; 0: nothing. */
export const BACKING = 5;
const FRAME_WORDS = 6;

/** Bits of FRAME_FLAGS. */
export const FOLIO_DIRTY = 1;
/** MADV_FREE: may be dropped instead of being swapped out, unless it's dirty. */
export const LAZY_FREE = 2;
export const WRITEBACK = 4;
export const HUGE = 8;
/** Allocated: mapped, in a cache, or kept alive by a reference only. */
export const IN_USE = 16;

/** Words of a page table entry. TARGET is 0 for nothing, frame + 1, or -(swap slot + 1). */
export const TARGET = 0;
export const PTE_FLAGS = 1;
/** What a file mapping shows: inode page + 1; 0: anonymous memory. */
export const INODE_PAGE = 2;
const PTE_WORDS = 3;

/** Bits of PTE_FLAGS. */
export const VM_WRITE = 1;
/** A store goes through without a fault. */
export const PTE_WRITE = 2;
export const PTE_DIRTY = 4;
export const PTE_YOUNG = 8;
export const PTE_SOFT_DIRTY = 16;
/** Mapped at all: off after munmap. */
export const VM_MAPPED = 32;
/** madvise(MADV_DONTFORK): children don't get it. */
export const VM_DONTCOPY = 64;
/** NUMA balancing wants to see the next access: it faults. Devices find the page all the same. */
export const PTE_PROTNONE = 128;

/**
 * Words of a swap slot: its content, and how many refer to it: page table entries, or the frame that it's a copy of.
 */
export const SWAP_CONTENT = 0;
export const SWAP_USERS = 1;
const SWAP_WORDS = 2;

/** Words of a disk block. */
export const BLOCK_CONTENT = 0;
/** Of what its content should be, for filesystems that keep one (btrfs). */
export const BLOCK_CHECKSUM = 1;
const BLOCK_WORDS = 2;

/** Words of an inode page: one page of a file, its place in the page cache and on the disk. */
export const INODE_FLAGS = 0;
/** Where it is on the disk: block + 1; 0: a hole. */
export const INODE_BLOCK = 1;
/** Where its next write goes, if not to where it is: block + 1. */
export const INODE_NEW_BLOCK = 2;
/** What caches it: frame + 1. */
export const INODE_FRAME = 3;
/** Under writeback: where it goes (block + 1), and the checksum taken when that began. */
export const INODE_WRITING = 4;
export const INODE_SUM = 5;
/** The first page table entry that is a mapping of it, present or not: page + 1; `nextMapping` has the others. */
export const INODE_MAPPED = 6;
const INODE_WORDS = 7;

/** Bits of INODE_FLAGS. */
/** Within the file's size. */
export const EXISTS = 1;
/** What is read is compared with a checksum, which is taken when a write begins. */
export const CHECKSUMS = 2;
/** Nothing is ever written where it was before. */
export const COPY_ON_WRITE = 4;
/** Files can share blocks (FICLONE). */
export const REFLINKS = 8;
/** A page under writeback can't be made writable. */
export const STABLE_PAGES = 16;

/**
 * What filesystems do, as INODE_FLAGS. Stable pages are also what some devices ask of any filesystem (stable_writes).
 */
export const FILESYSTEMS = {
  ext4: 0,
  xfs: REFLINKS,
  btrfs: CHECKSUMS | COPY_ON_WRITE | REFLINKS | STABLE_PAGES,
} as const;

/** Words of a buffer slot; its frames follow. */
export const SLOT_STATE = 0;
export const SLOT_FIRST_PAGE = 1;
export const SLOT_PAGES = 2;
export const SLOT_USERS = 3;
export const SLOT_WORDS = 4;
/**
 * Where there are users with a limit, at `Layout.slotAccount`: the user + 1 who is charged for it, and for how many
 * pages.
 */
export const ACCOUNT_USER = 0;
export const ACCOUNT_PAGES = 1;
const ACCOUNT_WORDS = 2;

/** SLOT_STATE. */
export const SLOT_EMPTY = 0;
export const SLOT_LIVE = 1;
/** Dropped, but a request still uses it. */
export const SLOT_LEAVING = 2;

/** Words of a request; its frames follow. */
export const REQUEST_STATE = 0;
export const REQUEST_WRITE = 1;
export const REQUEST_FIRST_PAGE = 2;
export const REQUEST_PAGES = 3;
/** The first of its blocks; below 0: of the pages of a file (`inFile`). */
export const REQUEST_BLOCK = 4;
/** The buffer slot it goes by, or -1. */
export const REQUEST_SLOT = 5;
/** Pages that the device has served. */
export const REQUEST_SERVED = 6;
export const REQUEST_WORDS = 7;

/** REQUEST_STATE. */
export const REQUEST_FREE = 0;
export const REQUEST_IN_FLIGHT = 1;
/** Answered, but the kernel still holds its pages for a moment. */
export const REQUEST_RELEASING = 2;
/** The same, and before it lets go of them it marks them dirty: they were found clean. */
export const REQUEST_REDIRTYING = 3;

/** A table: where it begins, and how many words one entry has. */
export interface Table {
  readonly at: number;
  readonly entryWords: number;
  readonly entries: number;
}

export interface TableLayout {
  readonly words: number;
  /**
   * A word a node: its first free frame + 1; a free frame's CONTENT says which is next, 0 the one that follows it in
   * memory.
   */
  readonly freeFrames: number;
  /** One word: where the search for a free request begins. */
  readonly nextRequest: number;
  /**
   * A word a process: the node that it runs on, and has its memory from if it can. Not there where there's one node.
   */
  readonly runsOn: number;
  /** A word a user with a limit: pages that are locked. */
  readonly locked: number;
  /** The words of a buffer slot's account, counted from its first; 0: it has none. */
  readonly slotAccount: number;
  readonly frames: Table;
  readonly pages: Table;
  readonly swap: Table;
  readonly blocks: Table;
  readonly slots: Table;
  readonly requests: Table;
  readonly inodePages: Table;
  /** Of a page that is a mapping of a file: the next one of the same inode page, + 1. */
  readonly nextMapping: Table;
  /** How many inode pages are in a block. */
  readonly blockUsers: Table;
}

/** A page of a file where a block of the disk could be meant too. */
export function inFile(inodePage: number): number {
  return -(inodePage + 1);
}

export function layoutOf(size: MachineSize): TableLayout {
  const { nodes = 1, processes = 1 } = size;
  const freeFrames = 0;
  const nextRequest = nodes;
  const runsOn = nextRequest + 1;
  const locked = runsOn + (nodes > 1 ? processes : 0);
  let words = locked + (size.memlock?.users ?? 0);
  const table = (entries: number, entryWords: number): Table => {
    const at = words;
    words += entries * entryWords;
    return { at, entryWords, entries };
  };
  const frames = table(size.frames, FRAME_WORDS);
  const pages = table(size.pages * processes, PTE_WORDS);
  const swap = table(size.swapSlots, SWAP_WORDS);
  const blocks = table(size.blocks, BLOCK_WORDS);
  const slotAccount = size.memlock === undefined ? 0 : SLOT_WORDS + size.bufferPages;
  const slots = table(size.bufferSlots, SLOT_WORDS + size.bufferPages + (slotAccount > 0 ? ACCOUNT_WORDS : 0));
  const requests = table(size.requests, REQUEST_WORDS + size.requestPages);
  const { inodePages: files = 0 } = size;
  const inodePages = table(files, INODE_WORDS);
  const nextMapping = table(files > 0 ? size.pages * processes : 0, 1);
  const blockUsers = table(files > 0 ? size.blocks : 0, 1);
  return {
    words,
    freeFrames,
    nextRequest,
    runsOn,
    locked,
    slotAccount,
    frames,
    pages,
    swap,
    blocks,
    slots,
    requests,
    inodePages,
    nextMapping,
    blockUsers,
  };
}
