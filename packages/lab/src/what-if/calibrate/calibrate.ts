/**
 * Compares the model with measurements: the figures of every row follow from its mechanism, with elementary costs as
 * the only inputs.
 */

import { NamedRandom } from "../../model/random.js";
import { COSTS } from "../costs.js";
import { NOT_MODELLED } from "../study.js";
import { behaviourRows } from "./behaviour-rows.js";
import { costRows } from "./cost-rows.js";
import { fileRows } from "./file-rows.js";
import { ioRows } from "./io-rows.js";
import { memoryRows } from "./memory-rows.js";
import {
  type CalibrationRow,
  describeInputs,
  middleOf,
  namesOfInputs,
  type Side,
  type Winner,
  winnerOf,
} from "./row.js";

const CALIBRATION_FORMAT = "pinless-calibration-1";
const MEASURED_ON =
  "Linux 6.18, x86-64, a virtual machine with 2 cores and 24 GiB; two NUMA nodes: Linux 6.1 under emulation";

export interface CalibratedSide extends Side {
  /** Model divided by measurement; null if the measurement is 0. */
  readonly ratio: number | null;
}

export interface CalibratedRow extends Omit<CalibrationRow, "sides" | "inputs"> {
  readonly sides: readonly CalibratedSide[];
  /** Inputs, each with its source. */
  readonly inputs: readonly string[];
  readonly inputNames: readonly string[];
  readonly winner: { readonly measured: Winner; readonly model: Winner } | null;
  readonly agrees: boolean;
}

export interface Calibration {
  readonly format: typeof CALIBRATION_FORMAT;
  readonly engine: string;
  readonly seed: number;
  readonly measuredOn: string;
  readonly rows: readonly CalibratedRow[];
  /** Rows in which the model prefers another design than the measurement does. */
  readonly disagreeing: number;
  readonly notModelled: readonly string[];
  readonly costs: typeof COSTS;
}

export function calibrate(engine: string, seed: number): Calibration {
  const random = new NamedRandom(seed);
  const rows = [
    ...memoryRows(random),
    ...behaviourRows(random),
    ...fileRows(random),
    ...costRows(),
    ...ioRows(seed),
  ].map(calibrated);
  return {
    format: CALIBRATION_FORMAT,
    engine,
    seed,
    measuredOn: MEASURED_ON,
    rows,
    disagreeing: rows.filter(({ agrees }) => !agrees).length,
    notModelled: NOT_MODELLED,
    costs: COSTS,
  };
}

export function calibrated(row: CalibrationRow): CalibratedRow {
  const measured = winnerOf(row, (side) => middleOf(side.measured));
  const model = winnerOf(row, (side) => side.model);
  const winner = measured === null || model === null ? null : { measured, model };
  return {
    ...row,
    sides: row.sides.flatMap((side) => (side === null ? [] : [{ ...side, ratio: ratioOf(side) }])),
    inputs: describeInputs(row),
    inputNames: namesOfInputs(row),
    winner,
    agrees: measured === model,
  };
}

function ratioOf({ measured, model }: Side): number | null {
  const middle = middleOf(measured);
  if (middle === 0) return model === 0 ? 1 : null;
  return model / middle;
}
