/** What happens in a run that no table has a place for. */

export class Counters {
  revalidations = 0;
  revalidationUs = 0;
  leasesTaken = 0;
  leasesGiven = 0;
  leaseUs = 0;
  /** Reads that succeed and whose data never arrives. */
  readsLost = 0;
  /** Device writes while the range is being written back: checksums that don't fit, or data that isn't on the disk after msync. */
  unsafeWrites = 0;
  /** Invalidations that the type of their event made unnecessary. */
  filtered = 0;
}
