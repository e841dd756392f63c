/**
 * The word in which a request carries its options to the kernel: the flags of preadv2(2) and pwritev2(2) in the lower
 * half, its I/O priority (ioprio_set(2)) in the upper. 0 for an ordinary request.
 */

export const RWF = { RWF_DSYNC: 0x2, RWF_SYNC: 0x4, RWF_ATOMIC: 0x40, RWF_DONTCACHE: 0x80 } as const;

export const IOPRIO = {
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
  IOPRIO_CLASS_SHIFT: 13,
} as const;

/** The two halves. */
export const REQUEST_FLAGS = 0xffff;
export const PRIORITY = ~REQUEST_FLAGS;
export const PRIORITY_SHIFT = 16;

/** Flags of a write that make it last: it completes once a power failure can't undo it. */
export const LASTING = RWF.RWF_DSYNC | RWF.RWF_SYNC;
