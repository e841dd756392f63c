/** Sizes of pages. */

/** The unit of page tables and of all counts of pages: the base page of x86-64, and of the arm64 kernels that Node runs on. */
export const PAGE_BYTES = 4096;
/** The largest base page of any Linux (arm64, ppc64): a multiple of it is aligned everywhere. */
export const LARGEST_PAGE_BYTES = 65536;
