// Invalid input files: commands refuse them at once, with one line that says why.
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdirSync, openSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { runCommand, runLab } from "../../../pinless/dist-test/support/children.js";
import { namedPipe, scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { readInputFile } from "../../dist/command/input-file.js";

test("only a regular file that isn't too large is read", (t) => {
  const directory = scratchDirectory(t);
  const at = (name: string): string => path.join(directory, name);
  writeFileSync(at("good"), "täxt");
  assert.equal(readInputFile(at("good"), 100), "täxt");
  assert.equal(readInputFile(at("good"), 5), "täxt");
  assert.ok(readInputFile("/proc/self/status", 1 << 16).length > 0);
  writeFileSync(at("binary"), Buffer.from([0xff, 0xfe, 0]));
  symlinkSync("circle", at("circle"));
  mkdirSync(at("directory"));
  const large = openSync(at("large"), "w");
  ftruncateSync(large, 2 ** 40);
  closeSync(large);
  const refused: readonly [file: string, why: RegExp][] = [
    [at("good"), /good is too large/],
    [at("large"), /large is too large/],
    ["/proc/self/status", /status is too large/],
    [at("directory"), /directory is a directory/],
    ["/dev/zero", /\/dev\/zero is a device/],
    [namedPipe(t), /pipe is a pipe/],
    [at("none"), /none can't be read: there's no such file \(ENOENT\)/],
    [at("good/more"), /can't be read: a part of its path isn't a directory \(ENOTDIR\)/],
    [at("circle"), /circle can't be read: its symbolic links lead in a circle \(ELOOP\)/],
    [at("x".repeat(300)), /can't be read: its name is too long/],
  ];
  for (const [file, message] of refused)
    assert.throws(() => readInputFile(file, 4), { name: "UsageError", message }, file);
  assert.throws(() => readInputFile(at("binary"), 100), { name: "UsageError", message: /isn't text in UTF-8/ });
});

test("every command that reads files refuses endless ones, and JSON that is nested too deeply", async (t) => {
  const directory = scratchDirectory(t);
  const deep = path.join(directory, "deep");
  writeFileSync(deep, "[".repeat(100_000));
  for (const [file, message] of [
    ["/dev/zero", /^pinless(?:-lab)? [\w-]+: \/dev\/zero is a device: give a text file\n$/],
    [deep, /^pinless(?:-lab)? [\w-]+: .*deep.*it's nested too deeply.*\n$/],
  ] as const) {
    const kinds = [
      [runLab, "check", file],
      [runLab, "what-if", file],
      [runLab, "simulate", "merge", file],
      [runLab, "simulate", "replay", file],
      [runCommand, "bench", "--compare", file, file],
    ] as const;
    for (const [run, ...args] of kinds) {
      const { code, stdout, stderr } = await run(args);
      assert.match(stderr, message, args.join(" "));
      assert.deepEqual([code, stdout], [2, ""], args.join(" "));
    }
  }
});
