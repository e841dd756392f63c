/** Flags of requests (RWF_…) on the machine: those that its filesystem and its kernel refuse, and those carried. */

import { EINVAL, EOPNOTSUPP, RWF } from "pinless/portable";

/** Limits of atomic writes of the machine's files. */
export const ATOMIC_LIMITS = { unitMinBytes: 4096, unitMaxBytes: 65536, segmentsMax: 1 };

export class RequestFlags {
  /** Flags with which a request is refused. */
  refused = 0;
  /** The words of options that requests carried, each once. */
  readonly carried = new Set<number>();

  /** Takes a request's options: returns 0, or the errno with which it is refused before it begins. */
  take(how: number, bytes: number, position: number): number {
    if (how === 0) return 0;
    this.carried.add(how);
    if ((how & this.refused) !== 0) return -EOPNOTSUPP;
    const { unitMinBytes, unitMaxBytes } = ATOMIC_LIMITS;
    const isUnit = bytes >= unitMinBytes && bytes <= unitMaxBytes && (bytes & (bytes - 1)) === 0;
    return (how & RWF.RWF_ATOMIC) !== 0 && (!isUnit || position % bytes !== 0) ? -EINVAL : 0;
  }
}
