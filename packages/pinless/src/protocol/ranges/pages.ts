/** Sizes of pages. */

/** The base page of x86-64, and of arm64 kernels unless they are built otherwise: the unit of all counts of pages. */
export const PAGE_BYTES = 4096;
/** The largest base page of any Linux (arm64, ppc64): a multiple of it is aligned everywhere. */
export const LARGEST_PAGE_BYTES = 65536;
