// Writes the README of the published package. Its relative links would lead nowhere there, so each becomes its text
// with the path that it has in the repository.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

const root = path.dirname(import.meta.dirname);
const NOTE = "\nPaths in this file, such as `docs/README.md`, are those of the source repository.\n";

const text = readFileSync(path.join(root, "README.md"), "utf8");
const withPaths = text.replace(/\[([^\]]+)\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g, (_, words, target) => {
  const names = words.replaceAll("`", "").replace(/\/$/, "");
  return target.startsWith(names) ? `\`${target}\`` : `${words} (\`${target}\`)`;
});
writeFileSync(path.join(root, "packages/pinless/README.md"), withPaths + NOTE);
