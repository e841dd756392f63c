#!/usr/bin/env node
/** The command: shows what a model file has, loads it, and makes samples. */

import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Engine } from "pinless";
import type { MetadataValue } from "./gguf.js";
import { type LoadOptions, type LoadProgress, loadModel, openModel } from "./load-model.js";
import { ModelError, quoted } from "./model-error.js";
import { writeSample } from "./sample.js";

const HELP = `model-loader: loads safetensors and GGUF models into memory, around the page cache

  model-loader                 makes a sample in a temporary folder, shows it and loads it
  model-loader info FILE       shows metadata and tensors
  model-loader load FILE       loads all tensors, and says how long it took
      --tensor NAME            loads this one only; may be repeated
      --checksums              prints the SHA-256 of each tensor
  model-loader sample FILE     makes a safetensors file of random bytes, the same ones each time
      --mib MIB                its size (64)
  model-loader --help

Exit codes: 0 done; 1 it failed, and the error says why; 2 wrong arguments; 130 ended by Ctrl-C.`;

/** Wrong arguments. */
class UsageError extends Error {}

const OPTIONS = {
  tensor: { type: "string", multiple: true },
  checksums: { type: "boolean" },
  mib: { type: "string", default: "64" },
  help: { type: "boolean", short: "h" },
} as const;

async function info(engine: Engine, path: string): Promise<void> {
  const { file, header } = await openModel(engine, path);
  await file.close();
  const { format, version, metadata, tensors } = header;
  console.log(`${format}${version === null ? "" : ` version ${version}`}, ${tensors.length} tensors`);
  for (const [key, value] of metadata) console.log(`  ${quoted(key)} = ${shown(value)}`);
  for (const { name, type, shape, position, bytes } of tensors)
    console.log(`${quoted(name)} ${type.name} [${shape}], ${bytes} bytes at ${position}`);
}

function shown(value: MetadataValue): string {
  if (typeof value === "object") return `an array of ${value.length}`;
  return typeof value === "string" ? quoted(value) : String(value);
}

async function load(engine: Engine, path: string, options: LoadOptions, checksums = false): Promise<void> {
  const began = performance.now();
  const onProgress = ({ bytes, totalBytes }: LoadProgress): void => {
    if (process.stderr.isTTY)
      process.stderr.write(bytes < totalBytes ? `\r${Math.floor((100 * bytes) / totalBytes)} %` : "\r\x1b[K");
  };
  const model = await loadModel(engine, path, { ...options, onProgress });
  const seconds = (performance.now() - began) / 1000;
  let mib = 0;
  for (const { name, type, data } of model.tensors.values()) {
    mib += data.byteLength / 2 ** 20;
    if (!checksums) continue;
    const sum = createHash("sha256").update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    console.log(`${sum.digest("hex")}  ${type.name}  ${quoted(name)}`);
  }
  const rate = (mib / seconds).toFixed(0);
  console.log(`${model.tensors.size} tensors, ${mib.toFixed(1)} MiB in ${seconds.toFixed(3)} s: ${rate} MiB/s`);
  await model.close();
}

/** Shows everything, on a sample that is removed afterwards. */
async function demonstrate(engine: Engine, signal: AbortSignal): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "model-loader-"));
  try {
    const path = join(folder, "sample.safetensors");
    await writeSample(engine, path, 64, signal);
    await info(engine, path);
    await load(engine, path, { signal });
    await load(engine, path, { signal, names: ["layers.3.norm.weight", "layers.3.mlp.up.weight"] }, true);
    console.log("Models of your own: model-loader load FILE; --help says more");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function main(signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: OPTIONS });
  const [command = "", path, ...more] = positionals;
  if (values.help) return console.log(HELP);
  const mib = Number(values.mib);
  if (!(mib > 0 && mib <= 2 ** 20)) throw new UsageError(`--mib must be from 1 to ${2 ** 20}: ${quoted(values.mib)}`);
  if (!["", "info", "load", "sample"].includes(command)) throw new UsageError(`there is no command ${quoted(command)}`);
  if (command !== "" && path === undefined) throw new UsageError(`${command} takes a FILE`);
  if (more.length > 0) throw new UsageError(`${quoted(more[0]!)} is one argument too many`);
  const engine = await Engine.open();
  try {
    if (command === "") await demonstrate(engine, signal);
    else if (command === "info") await info(engine, path!);
    else if (command === "load") await load(engine, path!, { names: values.tensor, signal }, values.checksums);
    else await writeSample(engine, path!, mib, signal);
  } finally {
    await engine.close();
  }
}

const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => interrupted.abort());
try {
  await main(interrupted.signal);
} catch (error) {
  const { name, message, code } = error as NodeJS.ErrnoException;
  // A parser of JSON quotes from the file, which may have control characters.
  const text = message.replace(/\p{Cc}/gu, " ");
  const isUsage = error instanceof UsageError || code?.startsWith("ERR_PARSE_ARGS");
  process.exitCode = interrupted.signal.aborted ? 130 : isUsage ? 2 : 1;
  if (process.exitCode === 2) console.error(`model-loader: ${text}; --help says more`);
  else if (process.exitCode === 1) console.error(`${error instanceof ModelError ? error.code : name}: ${text}`);
}
