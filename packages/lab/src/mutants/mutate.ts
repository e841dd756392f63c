/** A copy of the built modules with one mistake in it. The modules that ship have no switches for that. */

import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { BUILT } from "../commands/check/pool.js";
import { ScenarioError } from "../commands/check/scenario-file.js";
import type { Mutant } from "./mutant.js";

const PINLESS = new URL("./", import.meta.resolve("pinless"));
/** What the portable part of `pinless` is made of: none of it imports packages. */
const PORTABLE = [".", "engine", "files", "memory", "protocol", "protocol/monitor", "protocol/ranges"];
/** Folders of the lab that an exploration, or a simulation, needs: they import `pinless/portable` alone. */
export const CHECKED = ["check", "model", "proposal"] as const;
export const SIMULATED = ["model", "simulate"] as const;

export interface MutatedModules {
  readonly url: URL;
  remove(): void;
}

/** Folders' modules, text by path: read once for all mutants. */
const texts = new Map<string, [path: string, text: string][]>();

function modulesIn(folder: string): [path: string, text: string][] {
  const known = texts.get(folder);
  if (known !== undefined) return known;
  const from = fileURLToPath(new URL(folder, PORTABLE.includes(folder) ? PINLESS : BUILT));
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
  const folder = path.dirname(mutant.file);
  // What no engine is in is shown by scenarios of a kernel without one; an exploration has no engine around the protocol.
  const shown = folders === CHECKED ? !/^(engine|files)$/.test(folder) : !mutant.shows.startsWith("notifier-");
  if (!shown || ![...folders, ...PORTABLE].includes(folder))
    throw new ScenarioError(
      `"${mutant.name}" is a mutant of ${mutant.file}, which isn't run here: pinless-lab ${folders === CHECKED ? "simulate" : "check"} has it`,
    );
  const directory = mkdtempSync(path.join(tmpdir(), "pinless-mutant-"));
  const write = (at: string, name: string, text: string): void => {
    mkdirSync(path.join(directory, at, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(directory, at, name), text);
  };
  write(".", "package.json", '{ "type": "module" }\n');
  write("node_modules/pinless", "package.json", readFileSync(new URL("../package.json", PINLESS), "utf8"));
  for (const [at, of] of [
    ["lab", folders],
    ["node_modules/pinless/dist", PORTABLE],
  ] as const)
    for (const [name, text] of of.flatMap(modulesIn)) write(at, name, name === mutant.file ? changed : text);
  return {
    url: pathToFileURL(`${directory}/lab/`),
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
