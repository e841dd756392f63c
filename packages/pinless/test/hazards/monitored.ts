// A process whose memory other code discards, for tests of the monitor.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import type { TestContext } from "node:test";
import { BLOCK_BYTES, numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";
import { buildLibrary, DECLARATIONS } from "./native.js";

const MIB = 1 << 20;

/** In a child: `workers` has every worker that is started. */
export const SEES_WORKERS = `
  import threads from "node:worker_threads";
  import { syncBuiltinESMExports } from "node:module";
  import koffi from "koffi";
  const workers = [];
  threads.Worker = class extends threads.Worker {
    constructor(url, options) {
      super(url, options);
      workers.push({ name: options?.name, worker: this });
    }
  };
  syncBuiltinESMExports();
`;

/** In a child: an engine with an arena, all of it in `memory`, and a library whose thread discards it. */
export const BED = `
  const { Engine } = await import(PINLESS);
  const [file, library] = process.argv.slice(1);
  const lib = koffi.load(library);
  const start = lib.func(${JSON.stringify(DECLARATIONS.start)});
  const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");
  const engine = await Engine.open({ depth: 32, ...(globalThis.options ?? {}) });
  const arena = await engine.arena({ bytes: ${4 * MIB} });
  const memory = arena.alloc(${4 * MIB});
  const address = Number(koffi.address(new Uint8Array(memory.buffer))) + memory.byteOffset;
  const source = await engine.openFile(file);
  const words = new Int32Array(new SharedArrayBuffer(64));
  const wordsAt = Number(koffi.address(new Uint8Array(words.buffer)));
  const read = async (place, block) => {
    const buffer = memory.subarray(place * ${BLOCK_BYTES}, (place + 1) * ${BLOCK_BYTES});
    const { bytesRead } = await source.read(buffer, { position: block * ${BLOCK_BYTES} });
    if (bytesRead !== ${BLOCK_BYTES}) throw new Error(bytesRead + " bytes");
    return new Uint32Array(buffer.buffer, buffer.byteOffset, 1)[0];
  };
  const within = async (what, condition) => {
    for (const begin = Date.now(); !(await condition()); await new Promise(setImmediate))
      if (Date.now() - begin > 60_000) throw new Error(what);
  };
`;

export async function runMonitored(t: TestContext, source: string): Promise<Record<string, unknown>> {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(16));
  const { code, signal, stdout, stderr } = await runModule(source, { args: [file, buildLibrary(t)] });
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}
