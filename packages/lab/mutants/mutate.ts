/** A copy of the built modules with one mistake in it. The modules that ship have no switches for that. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { UsageError } from "@pinless/cli/command";
import { compiled } from "./edit.js";
import type { Mutant } from "./mutant.js";

/** Folders of built modules, by the folder that a mutated copy has them in. */
const BUILT = {
  "lab/": new URL("../dist/", import.meta.url),
  "node_modules/pinless/dist/": new URL("./", import.meta.resolve("pinless")),
};
const SOURCES = { "lab/src/": "lab/", "pinless/src/": "node_modules/pinless/dist/" };

/** Modules that each command loads; a copy has these, and all that they import. */
const LOADED = {
  check: ["lab/check/run-case.js"],
  simulate: ["lab/simulate/campaign.js", "lab/simulate/run-simulation.js"],
} as const;
export type MutatedCommand = keyof typeof LOADED;

export interface MutatedModules {
  /** Folder of the lab's modules in the copy. */
  readonly url: URL;
  remove(): void;
}

/** Modules of a command, text by path: read once for all mutants. */
const loaded = new Map<MutatedCommand, ReadonlyMap<string, string>>();

function modulesOf(command: MutatedCommand): ReadonlyMap<string, string> {
  const known = loaded.get(command);
  if (known !== undefined) return known;
  const texts = new Map<string, string>();
  const take = (file: string): void => {
    if (texts.has(file)) return;
    const text = builtText(file);
    texts.set(file, text);
    for (const [, from] of text.matchAll(/\b(?:from|import) ?\(?"([^"]+)"/g))
      if (from!.startsWith(".")) take(path.join(path.dirname(file), from!));
      else if (from === "pinless/portable") take("node_modules/pinless/dist/portable.js");
  };
  LOADED[command].forEach(take);
  loaded.set(command, texts);
  return texts;
}

function builtText(file: string): string {
  const [folder, url] = Object.entries(BUILT).find(([at]) => file.startsWith(at))!;
  return readFileSync(new URL(file.slice(folder.length), url), "utf8");
}

/** Throws a `UsageError` where the command doesn't run what the mutant changes. */
export function mutate(mutant: Mutant, command: MutatedCommand): MutatedModules {
  const [from, to] = Object.entries(SOURCES).find(([at]) => mutant.file.startsWith(at))!;
  const changed = mutant.file.replace(from, to).replace(/\.ts$/, ".js");
  const modules = modulesOf(command);
  // The proposal's kernel has no engine, and an exploration has none around the protocol.
  const isRun = command === "check" ? mutant.shows !== "simulate" : !mutant.shows.startsWith("notifier-");
  if (!isRun || !modules.has(changed)) {
    const other = command === "check" ? "simulate" : "check";
    throw new UsageError(
      `"${mutant.name}" is a mutant of ${mutant.file}, which pinless-lab ${command} doesn't run: ` +
        `pinless-lab ${other} does`,
    );
  }
  const directory = mkdtempSync(path.join(tmpdir(), "pinless-mutant-"));
  const write = (file: string, text: string): void => {
    mkdirSync(path.join(directory, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(directory, file), text);
  };
  write("package.json", '{ "type": "module" }\n');
  write("node_modules/pinless/package.json", builtText("node_modules/pinless/dist/../package.json"));
  for (const [file, text] of modules) write(file, file === changed ? compiled(mutant).text : text);
  return {
    url: pathToFileURL(`${directory}/lab/`),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
