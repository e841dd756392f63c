/** Thread of a HashPool: reads files by direct I/O, one after the other, and hashes them. */

import { parentPort } from "node:worker_threads";
import { Engine, type File } from "pinless";
import { bytesOf } from "../command/byte-names.js";
import { goesThroughCache } from "../command/cached-files.js";
import { systemReason } from "../command/failures.js";
import { type Hashed, type HashRequest, STDIN } from "./hash-messages.js";
import { hasherOf } from "./hashers.js";

const port = parentPort!;
let opening: Promise<Engine> | null = null;

port.on("message", (request: HashRequest | null) => {
  if (request === null) void end();
  else void hashed(request).then((answer) => port.postMessage(answer));
});

async function end(): Promise<void> {
  await (await opening)?.close();
  port.close();
}

async function hashed(request: HashRequest): Promise<Hashed> {
  try {
    opening ??= Engine.open();
    const engine = await opening;
    const file = await engine.openFile(request.name === STDIN ? { fd: 0 } : bytesOf(request.name), "r");
    try {
      return await hashOf(file, request);
    } finally {
      await file.close();
    }
  } catch (error) {
    return { code: (error as NodeJS.ErrnoException).code ?? "", reason: systemReason(error) };
  }
}

async function hashOf(file: File, { name, algorithm }: HashRequest): Promise<Hashed> {
  const hasher = await hasherOf(algorithm);
  const stat = await file.stat();
  // A shell's redirection may have been read in part already: its stream goes on from there. A pipe has no positions.
  const isStream = name === STDIN || stat.isFIFO() || stat.isSocket() || stat.isCharacterDevice();
  const blocks: AsyncIterable<Uint8Array> = isStream ? file.createReadStream({ autoClose: false }) : file.blocks();
  for await (const block of blocks) hasher.update(block);
  return { hex: hasher.digest(), cached: goesThroughCache(file, stat) };
}
