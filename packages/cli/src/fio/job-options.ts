/** The table of options: parsing, help, errors and `docs/fio.md` come from it. */

import type { OptionRow, RawOptions } from "./option-row.js";
import { IO_OPTIONS } from "./options-io.js";
import { RUN_OPTIONS } from "./options-run.js";
import { ACCEPTED_OPTIONS, REFUSED_OPTIONS } from "./options-without-effect.js";

const TABLE: readonly OptionRow[] = [...IO_OPTIONS, ...RUN_OPTIONS, ...ACCEPTED_OPTIONS, ...REFUSED_OPTIONS];
const BY_NAME = new Map(TABLE.flatMap((row) => row.names.map((name) => [name, row] as const)));

/** Options before any is given. */
export const DEFAULTS = Object.assign({}, ...TABLE.map(({ start }) => start)) as RawOptions;

/** The row of an option by its name or an alias. */
export function optionRow(name: string): OptionRow | undefined {
  return BY_NAME.get(name);
}

/** Names of options like a mistyped one. */
export function similarOptions(name: string): readonly string[] {
  const wanted = pairs(name);
  const shared = (other: string) => [...pairs(other)].filter((pair) => wanted.has(pair)).length;
  return [...BY_NAME.keys()]
    .map((other) => ({ other, likeness: (2 * shared(other)) / (wanted.size + pairs(other).size) }))
    .filter(({ likeness }) => likeness > 0.5)
    .sort((a, b) => b.likeness - a.likeness)
    .slice(0, 3)
    .map(({ other }) => other);
}

function pairs(name: string): ReadonlySet<string> {
  return new Set(Array.from({ length: name.length + 1 }, (_, i) => ` ${name} `.slice(i, i + 2)));
}

/** Help: a line for each option, or all of one. */
export function optionHelp(name: string): string | null {
  if (name === "all" || name === "") return TABLE.map(helpLine).join("\n");
  const row = optionRow(name);
  return row === undefined ? null : helpLine(row);
}

function helpLine({ names, fate, type, initial, about }: OptionRow): string {
  const value = [type, initial === "" ? "" : `default ${initial}`].filter((part) => part !== "").join("; ");
  const text = fate === "supported" ? about : `${fate}: ${about}`;
  return `${names.join(", ").padEnd(32)} ${text}${value === "" ? "" : ` (${value})`}`;
}

/** The table in Markdown. */
export function optionTable(): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  const rows = TABLE.map(({ names, fate, type, initial, about }) => {
    const name = names.map((each) => `\`${each}\``).join(", ");
    return `| ${name} | ${cell(type)} | ${cell(initial)} | ${fate}: ${cell(about)} |`;
  });
  return ["| option | value | default | here |", "|---|---|---|---|", ...rows].join("\n");
}
