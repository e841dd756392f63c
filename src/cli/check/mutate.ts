/** A copy of the built modules with one mistake in it. The modules that ship have no switches for that. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { Mutant } from "./mutant.js";
import { BUILT } from "./pool.js";
import { ScenarioError } from "./scenario-file.js";

/** All that an exploration, or a simulation, needs of what was built: none of it imports packages. */
export const CHECKED = ["core", "model", "simulate/check", "simulate/check/proposal"] as const;
export const SIMULATED = [".", "core", "files", "model", "simulate"] as const;

export interface MutatedModules {
  readonly url: URL;
  remove(): void;
}

/** Folders' modules, text by path: read once for all mutants. */
const texts = new Map<string, [path: string, text: string][]>();

function modulesIn(folder: string): [path: string, text: string][] {
  const known = texts.get(folder);
  if (known !== undefined) return known;
  const from = fileURLToPath(new URL(folder, BUILT));
  const names = readdirSync(from).filter((name) => name.endsWith(".js"));
  const found = names.map((name): [string, string] => [
    path.join(folder, name),
    readFileSync(path.join(from, name), "utf8"),
  ]);
  texts.set(folder, found);
  return found;
}

/** Throws if the mutant's text isn't there just once. */
export function mutate(mutant: Mutant, folders: readonly string[]): MutatedModules {
  const changed = changedText(mutant);
  // What no engine is in is shown by scenarios of a kernel without one.
  const shown = folders === CHECKED || !mutant.shows.startsWith("notifier-");
  if (!shown || !folders.includes(path.dirname(mutant.file)))
    throw new ScenarioError(
      `"${mutant.name}" is a mutant of ${mutant.file}, which isn't run here: pinless ${folders === CHECKED ? "simulate" : "check"} has it`,
    );
  const directory = mkdtempSync(path.join(tmpdir(), "pinless-mutant-"));
  writeFileSync(path.join(directory, "package.json"), '{ "type": "module" }\n');
  for (const folder of folders) {
    mkdirSync(path.join(directory, folder), { recursive: true });
    for (const [name, text] of modulesIn(folder))
      writeFileSync(path.join(directory, name), name === mutant.file ? changed : text);
  }
  return {
    url: pathToFileURL(`${directory}/`),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** The module with the mistake in it. */
export function changedText(mutant: Mutant): string {
  const text = modulesIn(path.dirname(mutant.file)).find(([of]) => of === mutant.file)?.[1] ?? "";
  const once = replaced(text, mutant, mutant);
  return mutant.also === undefined ? once : replaced(once, mutant, mutant.also);
}

function replaced(text: string, { name, file }: Mutant, { from, to }: { from: string; to: string }): string {
  // Spaces and line breaks are the compiler's business.
  const pattern = new RegExp(from.trim().split(/\s+/).map(literally).join("\\s+"), "g");
  const places = text.match(pattern)?.length ?? 0;
  if (places !== 1) throw new Error(`the mutant "${name}" fits ${places} places of ${file}, not one: ${from}`);
  return text.replace(pattern, () => to);
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
