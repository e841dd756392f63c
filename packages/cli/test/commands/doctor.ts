/** Runs the built `pinless doctor` in a process of its own. */

import assert from "node:assert/strict";
import { type ChildOptions, type Ended, runModule } from "../../../pinless/dist-test/support/children.js";
import type { Examination } from "../../dist/doctor/examine.js";

const MAIN = new URL("../../dist/main.js", import.meta.url).href;

export interface DoctorOptions extends Omit<ChildOptions, "args"> {
  /** Text of a module that comes first. */
  readonly before?: string;
}

export function doctor(args: readonly string[], { before = "", ...options }: DoctorOptions = {}): Promise<Ended> {
  return runModule(`${before}\nawait import(${JSON.stringify(MAIN)});`, { ...options, args: ["doctor", ...args] });
}

export type Report = Examination & { readonly pinless: string };

/** The JSON document; `code` is what the command must exit with. */
export async function diagnose(args: readonly string[], options: DoctorOptions = {}, code = 0): Promise<Report> {
  const ended = await doctor(["--json", ...args], options);
  assert.deepEqual([ended.code, ended.signal], [code, null], `${ended.stderr}${ended.stdout}`);
  return JSON.parse(ended.stdout);
}

/** Every name in a document, in its order: `findings.aio.errno`. What is in lists isn't looked at. */
export function namesIn(value: unknown, path = ""): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([name, inside]) => namesIn(inside, path === "" ? name : `${path}.${name}`));
}
