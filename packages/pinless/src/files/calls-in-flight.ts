/** Calls under way on arena memory, from the call to its answer, whatever way they take: whoever frees that memory waits for them. */

import { overlaps, type Range } from "../protocol/ranges/ranges.js";
import type { EndlessCall } from "./stream-call-limits.js";

export interface Use extends Range {
  /** It waits for a pipe or the like and may never end, unless it's ended by this. Null for all others. */
  readonly endless: EndlessCall | null;
}

export class Uses {
  readonly #uses = new Set<Use>();
  readonly #waiting: { readonly left: Set<Use>; readonly run: () => void }[] = [];

  begin(use: Use): void {
    this.#uses.add(use);
  }

  end(use: Use): void {
    this.#uses.delete(use);
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const { left, run } = this.#waiting[i]!;
      if (!left.delete(use) || left.size > 0) continue;
      this.#waiting.splice(i, 1);
      run();
    }
  }

  /** Calls `run` once no use that is under way now is left on the range: at once if there is none. `patient`: waits for endless ones too. */
  whenQuiet(range: Range, patient: boolean, run: () => void): void {
    const left = new Set<Use>();
    for (const use of this.#uses) if (overlaps(use, range) && (patient || use.endless === null)) left.add(use);
    if (left.size === 0) run();
    else this.#waiting.push({ left, run });
  }

  /** The memory is going away: what could wait for ever to use it fails with this errno instead. */
  endEndless(range: Range, errno: number): void {
    for (const use of this.#uses) if (overlaps(use, range)) use.endless?.end(errno);
  }
}
