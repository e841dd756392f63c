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
 * Kind of an invalidation; it decides which I/O waits and what becomes of a lease. `UNMAP`: the memory goes; later I/O
 * fails with EFAULT. `CLEAR`: its pages go (discard, page-out). `MIGRATE`: its pages move (to a node, or together as a
 * huge page). `PROTECTION_VMA`: it becomes read-only; device reads go on. `PROTECTION_PAGE`: it's written back; device
 * reads go on. `SOFT_DIRTY`: writes to it are tracked from here on; device reads go on. `EXCLUSIVE`: the program wants
 * it to itself. `RELEASE`: the engine closes.
 */
export type MmuEvent = (typeof MMU_EVENTS)[number];

/** Fate of a lease on the range. */
export type LeaseFate =
  /** It's given back, and the invalidation waits until the kernel has released the pages. */
  | "drop"
  /** It's used no more and given back, but the invalidation doesn't wait for that. */
  | "retire"
  | "keep";

/** State in which an ended invalidation leaves the range for I/O. */
export type Afterwards = "revalidate" | "goOn" | "efault" | "readOnly" | "refuse";

export interface Concern {
  /** Device writes wait, and are waited for. */
  readonly deviceWrites: boolean;
  /** Device reads wait, and are waited for. */
  readonly deviceReads: boolean;
  readonly lease: LeaseFate;
  readonly afterwards: Afterwards;
}

/** The table of the protocol: one row an event. */
export const CONCERNS: Readonly<Record<MmuEvent, Concern>> = {
  UNMAP: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "efault" },
  CLEAR: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "revalidate" },
  MIGRATE: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "revalidate" },
  PROTECTION_VMA: { deviceWrites: true, deviceReads: false, lease: "retire", afterwards: "readOnly" },
  PROTECTION_PAGE: { deviceWrites: true, deviceReads: false, lease: "drop", afterwards: "revalidate" },
  // Dropped, not kept: a device write through a live registration leaves no trace in soft-dirty or userfaultfd-WP bits.
  SOFT_DIRTY: { deviceWrites: true, deviceReads: false, lease: "drop", afterwards: "revalidate" },
  EXCLUSIVE: { deviceWrites: true, deviceReads: true, lease: "keep", afterwards: "goOn" },
  RELEASE: { deviceWrites: true, deviceReads: true, lease: "drop", afterwards: "refuse" },
};
