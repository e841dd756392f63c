/** Parses numbers on a command line. Only digits are accepted, because Number() also takes "", "0x10" and "1e99". */

import { InvalidArgumentError } from "commander";

/** Largest process number of Linux (PID_MAX_LIMIT). */
const MAX_PID = 2 ** 22;

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${shown(least)} to ${shown(most)}.`);
  };
}

/** Parses seconds, with or without a fraction. */
export function seconds(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{0,16}\.?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It takes ${least} to ${shown(most)} seconds.`);
  };
}

export function processNumber(text: string): number {
  const pid = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  if (pid >= 1 && pid <= MAX_PID) return pid;
  throw new InvalidArgumentError(`It takes process numbers, from 1 to ${shown(MAX_PID)}.`);
}

function shown(value: number): string {
  return value.toLocaleString("en-US");
}
