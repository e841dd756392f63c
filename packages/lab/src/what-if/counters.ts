/** Counts and costs of a run that aren't figures of a single kind of operation. */

export class Counters {
  revalidations = 0;
  revalidationUs = 0;
  leasesTaken = 0;
  leasesGiven = 0;
  leaseUs = 0;
  /** Reads that succeed, but whose data goes to pages that the program doesn't have any more. */
  readsLost = 0;
  /**
   * Device writes to a range under writeback, which lead to wrong checksums, or to data that isn't on the disk after
   * msync.
   */
  unsafeWrites = 0;
  /** Invalidations that were unnecessary because of the type of their event. */
  filtered = 0;
}
