/** Sizes of pages. */

/** Base page of x86-64, and of arm64 kernels by default: the unit of all counts of pages. */
export const PAGE_BYTES = 4096;
/** Largest base page of any Linux (arm64, ppc64): a multiple of it is aligned everywhere. */
export const LARGEST_PAGE_BYTES = 65536;
/** Huge page where base pages have 4 KiB. */
export const HUGE_PAGE_BYTES = 2 << 20;
