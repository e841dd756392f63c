/**
 * Assertions that are always on. A failed one is a bug in pinless, never a caller's mistake: what a caller can meet is a `PinlessError`.
 */

/** The protocol's invariants by name; ARCHITECTURE.md says what each promises. `STATE` is everything that has no name of its own. */
export const INVARIANTS = [
  "LINEAR",
  "NO_STALE_IO",
  "EXCLUSION",
  "BOUNDED_WAIT",
  "BOUNDED_HOLD",
  "EXACTLY_ONCE",
  "DEVICE_WRITES_DIRTY",
  "NO_IDLE_PIN",
  "BOUNDED_RESIDENCY",
  "BUDGET",
  "FILTER",
  "FREE_WHEN_QUIET",
  "BALANCED_VETO",
  "REVOKED_MEANS_REVOKED",
  "SELF_EVENT",
  "STATE",
] as const;

export type Invariant = (typeof INVARIANTS)[number];

/** A failed assertion: a bug in pinless, never a mistake of the caller. Please report it with its message. */
export class InvariantViolation extends Error {
  /** Always `"InvariantViolation"`. */
  override readonly name = "InvariantViolation";
  /** Always `"ERR_PINLESS_INVARIANT"`. */
  readonly code = "ERR_PINLESS_INVARIANT";
  /** Name of the invariant that didn't hold; ARCHITECTURE.md says what each promises. */
  readonly invariant: Invariant;

  constructor(invariant: Invariant, detail: string) {
    super(`${invariant}: ${detail}`);
    this.invariant = invariant;
  }
}

/** Reports a violation that was found by an `if`: on the hot path, where the detail's text must not be made for nothing. */
export function violated(name: Invariant, detail: string): never {
  throw new InvariantViolation(name, detail);
}

/** Throws `InvariantViolation` unless `holds`. `detail` says what was found, for whoever reads the report. */
export function invariant(name: Invariant, holds: boolean, detail: string): asserts holds {
  if (!holds) throw new InvariantViolation(name, detail);
}
