/** The page that lists a folder. */

import { type FileHandle, opendir } from "node:fs/promises";
import { nameOf } from "./site.js";

/** Limit on the names of a page, which is made in memory. */
const MAX_NAMES = 1000;

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => ENTITIES[character]!);

export async function indexPage(folder: FileHandle, segments: readonly string[], dotfiles: boolean): Promise<string> {
  const names: string[] = segments.length > 1 ? ["../"] : [];
  let more = "";
  for await (const entry of await opendir(nameOf(folder))) {
    if (entry.name.startsWith(".") && !dotfiles) continue;
    if (!entry.isFile() && !entry.isDirectory() && !entry.isSymbolicLink()) continue;
    if (names.length >= MAX_NAMES) {
      more = `<p>Only ${MAX_NAMES} names are shown.</p>\n`;
      break;
    }
    names.push(entry.isDirectory() ? `${entry.name}/` : entry.name);
  }
  const items = names.sort().map((name) => {
    const href = name === "../" ? name : `./${encodeURIComponent(name).replace(/%2F$/, "/")}`;
    return `<li><a href="${href}">${escaped(name)}</a></li>\n`;
  });
  const title = escaped(`/${segments.join("/")}`);
  const head = `<!doctype html>\n<meta charset="utf-8">\n<title>${title}</title>\n<h1>${title}</h1>\n`;
  return `${head}<ul>\n${items.join("")}</ul>\n${more}`;
}
