import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { coreutils, sameSums } from "./compared.js";

function inDirectory(directory: string, name: string): Buffer {
  return Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, "latin1")]);
}

const NAMES = ["plain", " space", "*star", "new\nline", "back\\slash", "return\r", "not\xffutf\xc3", "\xc3\xa9"];

for (const style of [[], ["--tag"], ["-b"]])
  test(`names with newlines and bytes that aren't UTF-8: as sha256sum ${style.join(" ")}, and back`, (t) => {
    const directory = scratchDirectory(t);
    for (const name of NAMES) writeFileSync(inDirectory(directory, name), name);
    const list = sameSums([...style, ...NAMES], directory);
    sameSums(["-c"], directory, list);
    if (style.length === 0) sameSums(["-z", ...NAMES], directory);
  });

/** A directory with files whose checksums are known. */
function withFiles(t: TestContext): { directory: string; good: string; bad: string; gone: string } {
  const directory = scratchDirectory(t);
  writeFileSync(path.join(directory, "good"), "good");
  writeFileSync(path.join(directory, "bad"), "bad");
  mkdirSync(path.join(directory, "folder"));
  const [good, bad] = coreutils(["sha256sum", "good", "bad"], directory).stdout.split("\n") as [string, string];
  return {
    directory,
    good,
    bad: bad.replace(/^./, (digit) => (digit === "0" ? "1" : "0")),
    gone: good.replace("good", "gone"),
  };
}

test("lists with mistakes: the output, messages and exit codes of sha256sum --check", (t) => {
  const { directory, good, bad, gone } = withFiles(t);
  const folder = good.replace("good", "folder");
  const broken = [
    "",
    "# a comment",
    "nonsense",
    good.slice(1),
    ` ${good}`,
    `${good}\r`,
    good.toUpperCase(),
    good.replace("  ", " "),
    `\\${good}`,
    `\\${good}\\x`,
    `SHA256 (good) = ${good.slice(0, 64)}`,
    `SHA256 (good) = ${good.slice(0, 63)}`,
    `SHA256(good)=${good.slice(0, 64)}`,
    `MD5 (good) = ${good.slice(0, 32)}`,
    `${good.slice(0, 64)}`,
    `${good.slice(0, 64)}  `,
    good.replace("  ", "  -"),
    "\0",
    "\xff\xfe",
  ];
  const all = [good, bad, gone, folder, ...broken].join("\n");
  for (const options of [[], ["--quiet"], ["--status"], ["--strict"], ["-w"], ["--ignore-missing"]])
    sameSums(["-c", ...options], directory, all);
  for (const line of broken) writeFileSync(path.join(directory, `list${broken.indexOf(line)}`), `${good}\n${line}`);
  sameSums(["-c", "--strict", ...broken.map((_, i) => `list${i}`)], directory);
});

test("lists of one kind: exit codes", (t) => {
  const { directory, good, bad, gone } = withFiles(t);
  const reversed = good.replace("  ", " ");
  for (const [lines, ...options] of [
    [[good]],
    [[good, "nonsense"]],
    [[good, "nonsense"], "--strict"],
    [[gone, good], "--ignore-missing"],
    [[gone], "--ignore-missing"],
    [[bad], "--status"],
    [[reversed, reversed]],
    [[reversed, good]],
    [["nonsense"]],
    [[]],
  ] as readonly (readonly [readonly string[], ...string[]])[])
    sameSums(["-c", ...options], directory, lines.map((line) => `${line}\n`).join(""));
  sameSums(["-c", "missing-list", "folder"], directory);
});
