/** Access of commands to the mutants of the engine, which are in a clone of the repository only. */

import { existsSync } from "node:fs";
import { UsageError } from "@pinless/cli/command";
import type { RunReport } from "../simulate/run-report.js";
import { BUILT } from "./check/pool.js";

const LIBRARY = new URL("../../dist-mutants/index.js", import.meta.url);

export interface ListedMutant {
  readonly name: string;
  readonly leavesOut: string;
  /** Scenario in which it's found. */
  readonly shows: string;
}

export interface SimulatedMutantRuns extends ListedMutant {
  /** Runs its seeds up to the first failure; null if none fails. */
  firstFailure(): Promise<RunReport | null>;
}

/** Built modules of the lab. */
export interface Modules {
  readonly url: URL;
  remove(): void;
}

export interface MutantLibrary {
  /** Mutants that exploration finds. */
  readonly explored: readonly ListedMutant[];
  /** Mutants that only runs of the whole engine find. */
  readonly simulated: readonly SimulatedMutantRuns[];
  /** Finds a mutant. Throws a `UsageError` that lists all of them. */
  named(name: string): ListedMutant;
  /** Copies the modules that a command loads, with the mutant's mistake. Throws a `UsageError` if none has it. */
  mutate(name: string, command: "check" | "simulate"): Modules;
}

/** Loads the mutants. Throws a `UsageError` if the package has none. */
export async function mutantLibrary(): Promise<MutantLibrary> {
  if (!existsSync(LIBRARY))
    throw new UsageError(
      "mutants are not in the published package: clone the repository, and run npm install and npm run build there",
    );
  const { library } = (await import(LIBRARY.href)) as { library: MutantLibrary };
  return library;
}

/** Modules that ship or, with the name of a mutant, a copy with its mistake. */
export async function modulesFor(mutant: string | null, command: "check" | "simulate"): Promise<Modules> {
  if (mutant === null) return { url: BUILT, remove: () => {} };
  return (await mutantLibrary()).mutate(mutant, command);
}
