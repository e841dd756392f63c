/** One thing that was measured, with and without what it is about, and what the model makes of it. */

import { COSTS } from "../costs.js";

/** A figure as it was measured: one, or from the least to the most of several runs. */
export type Measured = readonly [least: number, most: number];

export interface Side {
  readonly name: string;
  readonly measured: Measured;
  /** Out of the model's mechanism. */
  readonly model: number;
  /** Its measurement is where one of the row's inputs is from: that they agree says nothing. */
  readonly isInput?: true;
}

export interface CalibrationRow {
  readonly title: string;
  readonly unit: string;
  readonly better: "more" | "less";
  /** The second one is null where only one thing was measured. */
  readonly sides: readonly [Side, Side | null];
  /** What goes on in the model. */
  readonly mechanism: string;
  readonly inputs: readonly (keyof typeof COSTS | { readonly assumed: string } | { readonly measured: string })[];
}

export type Winner = "first" | "second" | "neither";

/** Nearer than this, nobody wins: figures that were measured one after the other differ by as much. */
const SAME = 0.03;

export function middleOf([least, most]: Measured): number {
  return (least + most) / 2;
}

/** Null: nothing is compared. */
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

/** A side whose measurement is an input of the row. */
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
