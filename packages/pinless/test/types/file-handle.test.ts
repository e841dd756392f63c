/**
 * A File's type is a FileHandle's: what follows compiles. No exceptions: whatever this Node's types say a FileHandle
 * has, a File has, and a File has more (`submit`, `direct`; the events of an EventEmitter, which types before Node 22
 * leave out). From Node 24 on types may have `pull`, `pullSync` and `writer`, which are there with
 * `--experimental-stream-iter` only, and which a File doesn't have.
 */

import assert from "node:assert/strict";
import { type BigIntStats, mkdirSync, type Stats, symlinkSync, writeFileSync } from "node:fs";
import type { FileHandle } from "node:fs/promises";
import path from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import type { File, open } from "../../dist/index.js";
import { scratchDirectory } from "../support/undo.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

function type<_ extends true>(): void {}

// Never called: it compiles, or not.
export async function compiles(file: File): Promise<void> {
  const handle: FileHandle = file;
  const opened: (...args: Parameters<typeof open>) => Promise<FileHandle> = async () => handle;
  void opened;
  const stat = await file.stat();
  type<Equal<typeof stat, Stats>>();
  const big = await file.stat({ bigint: true });
  type<Equal<typeof big, BigIntStats>>();
  const either = await file.stat({ bigint: Math.random() > 0.5 });
  type<Equal<typeof either, Stats | BigIntStats>>();
  const [bytes, text, same] = [
    await file.readFile(),
    await file.readFile("utf8"),
    await file.readFile({ encoding: "hex" }),
  ];
  type<Equal<typeof bytes, Buffer<ArrayBuffer>>>();
  type<Equal<typeof text, string>>();
  type<Equal<typeof same, string>>();
  const words = new Uint16Array(8);
  const { buffer } = await file.read(words, { position: 2n ** 60n });
  type<Equal<typeof buffer, Uint16Array<ArrayBuffer>>>();
  const { buffers } = await file.readv([words] as const);
  type<Equal<typeof buffers, readonly [Uint16Array<ArrayBuffer>]>>();
  // @ts-expect-error: FileHandle's write takes no bigint: it would go to the file's own position.
  await file.write(words, { position: 2n });
  // @ts-expect-error
  await file.write("text", 0, "klingon");
  // @ts-expect-error
  await file.writeFile(5);
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const PROGRAM = `
import { Engine, open } from "pinless";
import type { FileHandle } from "node:fs/promises";
const handle: Promise<FileHandle> = open("x");
const size: Promise<number> = Engine.open().then(async (e) => (await (await e.openFile("x")).stat()).size);
export { handle, size };
`;

for (const resolution of ["node10", "node16", "bundler"]) {
  test(`TypeScript finds the types by moduleResolution ${resolution}`, (t) => {
    const directory = scratchDirectory(t);
    mkdirSync(path.join(directory, "node_modules", "@types"), { recursive: true });
    symlinkSync(ROOT, path.join(directory, "node_modules", "pinless"));
    symlinkSync(path.join(ROOT, "../../node_modules/@types/node"), path.join(directory, "node_modules/@types/node"));
    const file = path.join(directory, "program.mts");
    writeFileSync(file, PROGRAM);
    const { options, errors } = ts.convertCompilerOptionsFromJson(
      {
        moduleResolution: resolution,
        module: resolution === "node16" ? "node16" : "esnext",
        target: "es2022",
        lib: ["es2023", "esnext.disposable"],
        strict: true,
        noEmit: true,
        types: ["node"],
        skipLibCheck: true,
        ignoreDeprecations: "6.0",
      },
      directory,
    );
    assert.deepEqual(errors, []);
    const diagnostics = ts.getPreEmitDiagnostics(ts.createProgram([file], options));
    assert.deepEqual(
      diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n")),
      [],
    );
  });
}
