/**
 * Layout of the machine's state: one flat Int32Array, which can be copied, hashed and restored as bytes.
 *
 * The content of a page or block is a tag, a number for what was last written there; 0 is zeros.
 */

/** Ways in which the machine's kernel keeps a page in place while I/O uses it. */
export type KernelDesign =
  /** Linux: get_user_pages takes references; those of a registration last until it's dropped. */
  | "gup"
  /**
   * The proposal: no references. Invalidations wait for I/O in flight, and a registration looks its pages up again
   * after one.
   */
  | "notifier";

export interface MachineSize {
  /** Physical frames, and the number of NUMA nodes (default 1) that share them equally, in order. */
  readonly frames: number;
  readonly nodes?: number;
  /** Pages of a process's address space. */
  readonly pages: number;
  /** Most processes at a time (default 1). Page numbers count through all of them: process × pages + page. */
  readonly processes?: number;
  /**
   * Fork as before Linux 5.12: children share pinned pages too, so that the next store of the parent goes to a copy and
   * the device keeps the old frame.
   */
  readonly sharesPinned?: boolean;
  readonly swapSlots: number;
  /** Blocks of the disk, of a page each. */
  readonly blocks: number;
  /** Slots of the buffer table, and the most pages of one registration. */
  readonly bufferSlots: number;
  readonly bufferPages: number;
  /** Most requests in the kernel at a time, and the most pages of one. */
  readonly requests: number;
  readonly requestPages: number;
  /**
   * RLIMIT_MEMLOCK in pages, shared by all that a user locks, and the number of users that have it. By default there is
   * only root, who has no limit.
   */
  readonly memlock?: { readonly users: number; readonly pages: number };
  /**
   * Pages of all files together; a file is a row of them. Without it the machine has no files, and its state no words
   * for them.
   */
  readonly inodePages?: number;
}

/** Pages of a huge page. */
export const HUGE_PAGES = 512;

/** Words of a frame. */
export const CONTENT = 0;
/** References by get_user_pages (long and short term). */
export const PINS = 1;
/** Page table entries that map it. */
export const MAPS = 2;
/** I/O in flight on the frame, with or without a registration. */
export const IN_FLIGHT = 3;
export const FRAME_FLAGS = 4;
/** Location that the frame is a copy of: swap slot + 1, -(inode page + 1) if it's in the page cache, or 0 for none. */
export const BACKING = 5;
const FRAME_WORDS = 6;

/** Bits of FRAME_FLAGS. */
export const FOLIO_DIRTY = 1;
/** MADV_FREE: unless the page is dirty, reclaim drops it instead of swapping it out. */
export const LAZY_FREE = 2;
export const WRITEBACK = 4;
export const HUGE = 8;
/** Allocated: mapped, in a cache, or kept alive by a reference only. */
export const IN_USE = 16;

/** Words of a page table entry. TARGET is 0 for nothing, frame + 1, or -(swap slot + 1). */
export const TARGET = 0;
export const PTE_FLAGS = 1;
/** Inode page + 1 of a file mapping; 0 for anonymous memory. */
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
/** The next access faults, for NUMA balancing. A device finds the page nevertheless. */
export const PTE_PROTNONE = 128;

/**
 * Words of a swap slot: its content, and the number of its users (page table entries, or the frame that it's a copy
 * of).
 */
export const SWAP_CONTENT = 0;
export const SWAP_USERS = 1;
const SWAP_WORDS = 2;

/** Words of a disk block. */
export const BLOCK_CONTENT = 0;
/** Checksum of the intended content, for filesystems with checksums (btrfs). */
export const BLOCK_CHECKSUM = 1;
const BLOCK_WORDS = 2;

/** Words of an inode page: one page of a file, its place in the page cache and on the disk. */
export const INODE_FLAGS = 0;
/** Disk block + 1; 0 for a hole. */
export const INODE_BLOCK = 1;
/** Disk block + 1 for the next write, if that doesn't go to the present block. */
export const INODE_NEW_BLOCK = 2;
/** Frame + 1 in the page cache. */
export const INODE_FRAME = 3;
/** During writeback: the block + 1 that is written, and the checksum taken when the writeback began. */
export const INODE_WRITING = 4;
export const INODE_SUM = 5;
/** First page that maps it, present or not, as page + 1; `nextMapping` leads to the others. */
export const INODE_MAPPED = 6;
const INODE_WORDS = 7;

/** Bits of INODE_FLAGS. */
/** Within the file's size. */
export const EXISTS = 1;
/** The filesystem takes a checksum when a write begins, and compares it with what is read. */
export const CHECKSUMS = 2;
/** A write always goes to a new block. */
export const COPY_ON_WRITE = 4;
/** Files can share blocks (FICLONE). */
export const REFLINKS = 8;
/** A page can't be made writable while it's under writeback. */
export const STABLE_PAGES = 16;

/** Properties of filesystems, as INODE_FLAGS. Some devices require stable pages of any filesystem (stable_writes). */
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
 * Words at `TableLayout.slotAccount`, if there are users with a limit: the charged user + 1, and the number of pages.
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
/** First of its disk blocks; a negative number is a page of a file (`inFile`). */
export const REQUEST_BLOCK = 4;
/** The buffer slot it goes by, or -1. */
export const REQUEST_SLOT = 5;
/** Pages that the device has served. */
export const REQUEST_SERVED = 6;
export const REQUEST_WORDS = 7;

/** REQUEST_STATE. */
export const REQUEST_FREE = 0;
export const REQUEST_IN_FLIGHT = 1;
/** Completed, but the kernel holds its pages for a moment longer. */
export const REQUEST_RELEASING = 2;
/** The same, and the kernel marks the pages dirty before it releases them, because it found them clean. */
export const REQUEST_REDIRTYING = 3;

/** A table: its first word, the words of an entry, and the number of entries. */
export interface Table {
  readonly at: number;
  readonly entryWords: number;
  readonly entries: number;
}

export interface TableLayout {
  readonly words: number;
  /**
   * One word for each node: its first free frame + 1. CONTENT of a free frame leads to the next one; 0 stands for the
   * neighbouring frame.
   */
  readonly freeFrames: number;
  /** One word: the request at which the search for a free one begins. */
  readonly nextRequest: number;
  /** One word for each process: the node that it runs on and prefers for its memory. Absent if there is one node. */
  readonly runsOn: number;
  /** One word for each user with a limit: its locked pages. */
  readonly locked: number;
  /** Offset of the account within a buffer slot; 0 if slots have none. */
  readonly slotAccount: number;
  readonly frames: Table;
  readonly pages: Table;
  readonly swap: Table;
  readonly blocks: Table;
  readonly slots: Table;
  readonly requests: Table;
  readonly inodePages: Table;
  /** Next page that maps the same inode page, as page + 1. */
  readonly nextMapping: Table;
  /** Number of inode pages that share a block. */
  readonly blockUsers: Table;
}

/** Encodes a file page as a negative number, where a disk block is also possible. */
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
