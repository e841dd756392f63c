/** Mutants of the engine, as commands use them. They are in a clone of the repository only: no package has them. */

import { existsSync } from "node:fs";
import { UsageError } from "@pinless/cli/command";
import type { RunReport } from "../simulate/run-simulation.js";
import { BUILT } from "./check/pool.js";

const LIBRARY = new URL("../../dist-mutants/index.js", import.meta.url);

export interface ListedMutant {
  readonly name: string;
  readonly leavesOut: string;
  /** The scenario that shows it. */
  readonly shows: string;
}

export interface SimulatedMutantRuns extends ListedMutant {
  /** The first of its seeds that fails with the step left out; null: none does. */
  firstFailure(): Promise<RunReport | null>;
}

/** Built modules of the lab. */
export interface Modules {
  readonly url: URL;
  remove(): void;
}

export interface MutantLibrary {
  /** Those that an exploration shows. */
  readonly explored: readonly ListedMutant[];
  /** Those that only runs of the whole engine show. */
  readonly simulated: readonly SimulatedMutantRuns[];
  /** Throws a `UsageError` that names all there are. */
  named(name: string): ListedMutant;
  /** Copies the modules that a command loads, with the mutant's mistake. Throws a `UsageError` if none has it. */
  mutate(name: string, command: "check" | "simulate"): Modules;
}

/** Throws a `UsageError` where there are no mutants. */
export async function mutantLibrary(): Promise<MutantLibrary> {
  if (!existsSync(LIBRARY))
    throw new UsageError(
      "mutants are not in the published package: clone the repository, and run npm install and npm run build there",
    );
  const { library } = (await import(LIBRARY.href)) as { library: MutantLibrary };
  return library;
}

/** The modules that ship, or with the name of a mutant a copy of them that has its mistake. */
export async function modulesFor(mutant: string | null, command: "check" | "simulate"): Promise<Modules> {
  if (mutant === null) return { url: BUILT, remove: () => {} };
  return (await mutantLibrary()).mutate(mutant, command);
}
