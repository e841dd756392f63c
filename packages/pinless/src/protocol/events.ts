/**
 * Events of an invalidation, named as in `enum mmu_notifier_event` of the kernel (include/linux/mmu_notifier.h).
 *
 * MIGRATE here covers every move of pages that the program asks for. In the kernel it is only for device-private
 * memory; its own compaction and NUMA balancing raise CLEAR.
 */
export const MMU_EVENTS = [
  "UNMAP",
  "CLEAR",
  "PROTECTION_VMA",
  "PROTECTION_PAGE",
  "SOFT_DIRTY",
  "RELEASE",
  "MIGRATE",
  "EXCLUSIVE",
] as const;

/**
 * Kind of an invalidation; it decides which I/O waits and if leases are dropped. `UNMAP`: the memory is unmapped; later
 * I/O fails with EFAULT. `CLEAR`: its pages are freed (discard, page-out). `MIGRATE`: its pages move (to a node, or
 * into a huge page). `PROTECTION_VMA`: it becomes read-only; device reads go on. `PROTECTION_PAGE`: it's written back;
 * device reads go on. `SOFT_DIRTY`: tracking of writes to it begins; device reads go on. `EXCLUSIVE`: the program uses
 * it without I/O. `RELEASE`: the engine closes.
 */
export type MmuEvent = (typeof MMU_EVENTS)[number];

/** Effect of an invalidation on leases of the range. */
export type LeaseFate =
  /** It's dropped, and the invalidation waits until the kernel has released the pages. */
  | "drop"
  /** It's dropped, but the invalidation doesn't wait for that. */
  | "retire"
  | "keep";

/** Treatment of I/O on the range after the invalidation's end. */
export type Afterwards = "revalidate" | "goOn" | "efault" | "readOnly" | "refuse";

export interface Concern {
  /** True if the invalidation excludes device writes: new ones wait, and it waits for those in flight. */
  readonly deviceWrites: boolean;
  /** The same for device reads. */
  readonly deviceReads: boolean;
  readonly lease: LeaseFate;
  readonly afterwards: Afterwards;
}

/** Table of the protocol, with one row for each event. */
export const CONCERNS: Readonly<Record<MmuEvent, Concern>> = {
  UNMAP: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "efault" },
  CLEAR: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "revalidate" },
  MIGRATE: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "revalidate" },
  PROTECTION_VMA: { deviceWrites: true, deviceReads: false, lease: "retire", afterwards: "readOnly" },
  PROTECTION_PAGE: { deviceWrites: true, deviceReads: false, lease: "drop", afterwards: "revalidate" },
  // The lease is dropped because a device write through a registration sets no soft-dirty or userfaultfd-WP bit.
  SOFT_DIRTY: { deviceWrites: true, deviceReads: false, lease: "drop", afterwards: "revalidate" },
  EXCLUSIVE: { deviceWrites: true, deviceReads: true, lease: "keep", afterwards: "goOn" },
  RELEASE: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "refuse" },
};
