/** Advisory locks of a file's open descriptions (F_OFD_SETLK). */

import { EAGAIN, type LockKind, type Range, RangeSet } from "pinless/portable";

export class AdvisoryLocks {
  readonly #held = new Map<object, { readonly shared: RangeSet; readonly exclusive: RangeSet }>();

  /** Locks a range for an open description in place of what it has there. Returns 0, or -EAGAIN and changes nothing. */
  set(owner: object, range: Range, kind: LockKind): number {
    for (const [other, { shared, exclusive }] of this.#held) {
      if (other === owner || kind === "none") continue;
      if (exclusive.meets(range) || (kind === "exclusive" && shared.meets(range))) return -EAGAIN;
    }
    const own = this.#held.get(owner) ?? { shared: new RangeSet(), exclusive: new RangeSet() };
    for (const ranges of [own.shared, own.exclusive]) ranges.remove(range);
    if (kind !== "none") own[kind].add(range);
    this.#held.set(owner, own);
    return 0;
  }
}
