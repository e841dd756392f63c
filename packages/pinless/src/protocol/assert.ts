/** Assertions that are always on. A failed one is a bug in pinless; a caller's mistake is a `PinlessError`. */

/**
 * Names of the protocol's invariants, each explained in ARCHITECTURE.md. `STATE` stands for all others.
 */
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

/**
 * Reports a violation that an `if` has found: for the hot path, where building the text each time would cost too much.
 */
export function violated(name: Invariant, detail: string): never {
  throw new InvariantViolation(name, detail);
}

/** Throws `InvariantViolation` unless `holds`. `detail` says what was found, for the report. */
export function invariant(name: Invariant, holds: boolean, detail: string): asserts holds {
  if (!holds) throw new InvariantViolation(name, detail);
}
