/** `pinless-lab what-if calibrate`: prints the model's figures beside the measured ones. */

import { bold, FAILED, print, type Style, terminal, textOf, wrap, writeJson } from "@pinless/cli/command";
import { type CalibratedRow, type CalibratedSide, calibrate } from "../what-if/calibrate/calibrate.js";

export function calibration(engine: string, seed: number, json: string | undefined): void {
  const report = calibrate(engine, seed);
  if (writeJson("pinless-lab what-if", report, json)) {
    const style = terminal();
    const say = (text: string): readonly string[] => wrap(text, style.columns, "  ");
    print(
      textOf([
        ...say(`${engine}, seed ${seed}: the model, and what was measured on ${report.measuredOn}`),
        ...say("× is the model divided by the measurement; *: an input is from that very measurement"),
        "",
        ...report.rows.flatMap((row) => [...renderRow(row, style), ""]),
        bold("Where the inputs are from", style),
        ...inputsOf(report.rows).flatMap((line) => say(`- ${line}`)),
        "",
        bold("What the model does not model", style),
        ...report.notModelled.flatMap((line) => say(`- ${line}`)),
        "",
        ...say(verdict(report.rows)).map((line) => bold(line, style)),
      ]),
    );
  }
  if (report.disagreeing > 0) process.exitCode = FAILED;
}

function renderRow(row: CalibratedRow, style: Style): readonly string[] {
  const { title, unit, sides, mechanism, inputNames } = row;
  const width = Math.max(...sides.map(({ name }) => name.length));
  const inputs = inputNames.length === 0 ? "none" : inputNames.join(", ");
  const narrow = (text: string): string => (text.length <= style.columns ? text : text.replace(/ +/g, " "));
  const say = (text: string): readonly string[] => wrap(text, style.columns - 2, "  ").map((line) => `  ${line}`);
  return [
    ...wrap(`${title} (${unit})`, style.columns, "  ").map((line) => bold(line, style)),
    ...sides.flatMap((side) =>
      say(
        narrow(
          `${side.name.padEnd(width)}  measured ${rangeOf(side).padStart(11)}  ` +
            `model ${figure(side.model).padStart(7)}  ${ratioOf(side)}`,
        ),
      ),
    ),
    ...say(betterOf(row)),
    ...say(`how: ${mechanism}`),
    ...say(`inputs: ${inputs}`),
  ];
}

function betterOf({ winner, agrees, sides: [first, second] }: CalibratedRow): string {
  if (winner === null) return "nothing to be better than";
  const names = { first: first!.name, second: second?.name ?? "", neither: "neither" };
  if (agrees) return `better in both: ${names[winner.model]}`;
  return `BETTER HERE: ${names[winner.model]}. IT WAS: ${names[winner.measured]}`;
}

function ratioOf({ ratio, isInput }: CalibratedSide): string {
  return `${ratio === null ? "no ratio" : `× ${ratio.toFixed(2)}`}${isInput === true ? " *" : ""}`;
}

function rangeOf({ measured: [least, most] }: CalibratedSide): string {
  return least === most ? figure(least) : `${figure(least)}–${figure(most)}`;
}

function figure(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString("en-US", { maximumFractionDigits: digits });
}

function inputsOf(rows: readonly CalibratedRow[]): readonly string[] {
  return [...new Set(rows.flatMap(({ inputs }) => inputs))];
}

function verdict(rows: readonly CalibratedRow[]): string {
  const compared = rows.filter(({ winner }) => winner !== null);
  const agreeing = compared.filter(({ agrees }) => agrees).length;
  const ratios = rows.flatMap(({ sides }) =>
    sides.flatMap(({ ratio, isInput }) => (ratio === null || isInput ? [] : [ratio])),
  );
  const near = ratios.filter((ratio) => ratio > 0.8 && ratio < 1.25).length;
  return (
    `The same is better in ${agreeing} of ${compared.length} rows; of ${ratios.length} figures whose measurements ` +
    `aren't inputs, ${near} are within a quarter of them`
  );
}
