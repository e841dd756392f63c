/**
 * README and docs: their programs run on the real kernel, their links lead somewhere, and their tables have what the
 * code has.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { ERROR_CODES } from "../../dist/index.js";
import { scratchDirectory } from "../support/undo.js";

const root = path.resolve(import.meta.dirname, "../../../..");
const inDocs = readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".md"))
  .map((name) => path.join("docs", name));
const pages = ["README.md", "ARCHITECTURE.md", "STYLE.md", ...inDocs].map((name) => ({
  name,
  text: readFileSync(path.join(root, name), "utf8"),
}));

/** A heading's anchor, as GitHub makes it. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading!));
}

const programs = pages.flatMap(({ name, text }) =>
  [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, program], i) => ({ name: `${name}, ${i + 1}`, program })),
);

for (const { name, program } of programs)
  test(`the program runs: ${name}`, (t) => {
    const directory = scratchDirectory(t);
    mkdirSync(path.join(directory, "node_modules"));
    for (const [name, at] of [
      ["pinless", "packages/pinless"],
      ["koffi", "node_modules/koffi"],
    ] as const)
      symlinkSync(path.join(root, at), path.join(directory, "node_modules", name));
    writeFileSync(path.join(directory, "data.bin"), Buffer.alloc(16 << 20, 1));
    writeFileSync(path.join(directory, "program.mjs"), program!);
    const ended = spawnSync(process.execPath, ["program.mjs"], { cwd: directory, encoding: "utf8", timeout: 180_000 });
    assert.deepEqual({ status: ended.status, stderr: ended.stderr }, { status: 0, stderr: "" });
  });

test("there are programs to run", () => assert.ok(programs.length >= 8, `${programs.length}`));

for (const { name, text } of pages)
  test(`links lead somewhere: ${name}`, () => {
    const bad = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link]) => link!)
      .filter((link) => !/^https?:/.test(link))
      .filter((link) => {
        const [file = "", anchor] = link.split("#");
        const target = file === "" ? name : path.join(path.dirname(name), file);
        if (!existsSync(path.join(root, target))) return true;
        return anchor !== undefined && !anchorsOf(readFileSync(path.join(root, target), "utf8")).includes(anchor);
      });
    assert.deepEqual(bad, []);
  });

/** Sources and folders of the workspace, as paths that begin with a slash. */
function sourcePaths(folder: string): string[] {
  return readdirSync(path.join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !["node_modules", "dist", "dist-test", "reference"].includes(name))
    .flatMap((entry) => {
      const inside = path.join(folder, entry.name);
      return entry.isDirectory() ? [`/${inside}/`, ...sourcePaths(inside)] : [`/${inside}`];
    });
}

test("every source and every folder that the pages name exists", () => {
  const known = sourcePaths("packages");
  const missing = pages.flatMap(({ name, text }) =>
    [...text.replaceAll(/^```[\s\S]*?^```$/gm, "").matchAll(/`([\w./-]+(?:\.ts|\/))`/g)]
      .map(([, named]) => named!)
      .filter((named) => !known.some((each) => each.endsWith(`/${named}`)) && !existsSync(path.join(root, named)))
      .map((named) => `${name}: ${named}`),
  );
  assert.deepEqual(missing, []);
});

test("docs/api/errors.md has every code", () => {
  const text = readFileSync(path.join(root, "docs/api/errors.md"), "utf8");
  const inTable = [...text.matchAll(/^\| `(ERR_PINLESS_[A-Z_]+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual(inTable, Object.keys(ERROR_CODES));
});
