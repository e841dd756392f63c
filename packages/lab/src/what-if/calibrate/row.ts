/** A calibration row: one thing that was measured with and without its cause, and the model's figures for both. */

import { COSTS } from "../costs.js";

/** A measured figure, as the range from the least to the most of several runs. */
export type Measured = readonly [least: number, most: number];

export interface Side {
  readonly name: string;
  readonly measured: Measured;
  /** The model's figure. */
  readonly model: number;
  /** True if an input of the row is from this measurement, so that their agreement means nothing. */
  readonly isInput?: true;
}

export interface CalibrationRow {
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
  /** The two sides; the second is null if only one thing was measured. */
  readonly sides: readonly [Side, Side | null];
  /** Mechanism in the model. */
  readonly mechanism: string;
  readonly inputs: readonly (keyof typeof COSTS | { readonly assumed: string } | { readonly measured: string })[];
}

export type Winner = "first" | "second" | "neither";

/** Ratio below which neither side is better, because figures measured one after the other differ by as much. */
const SAME = 0.03;

export function middleOf([least, most]: Measured): number {
  return (least + most) / 2;
}

/** Returns null if the row compares nothing. */
export function winnerOf(
  { sides: [first, second], better }: CalibrationRow,
  of: (side: Side) => number,
): Winner | null {
  if (second === null) return null;
  const [a, b] = [of(first), of(second)];
  if (Math.abs(a - b) <= SAME * Math.max(Math.abs(a), Math.abs(b))) return "neither";
  return a > b === (better === "more") ? "first" : "second";
}

export function side(name: string, measured: Measured | number, model: number): Side {
  return { name, measured: typeof measured === "number" ? [measured, measured] : measured, model };
}

/** Marks a side whose measurement is an input of the row. */
export function input(name: string, measured: Measured | number, model: number): Side {
  return { ...side(name, measured, model), isInput: true };
}

export function describeInputs({ inputs }: CalibrationRow): readonly string[] {
  return inputs.map((name) => {
    if (typeof name !== "string") return "assumed" in name ? `assumed: ${name.assumed}` : `measured: ${name.measured}`;
    const { us, source } = COSTS[name];
    return `${name} ${us} µs (${source})`;
  });
}

export function namesOfInputs({ inputs }: CalibrationRow): readonly string[] {
  return inputs.map((name) => (typeof name === "string" ? name : "assumed" in name ? name.assumed : name.measured));
}
