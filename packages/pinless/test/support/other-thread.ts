/** Another thread whose engine attaches a shared arena, for tests. */

import { once } from "node:events";
import type { TestContext } from "node:test";
import { Worker } from "node:worker_threads";
import type { ArenaToken, EngineOptions } from "../../dist/index.js";

export const SHARED_BLOCKS = 64;
const PINLESS = new URL("../../dist/index.js", import.meta.url).href;
const SUPPORT = new URL("./blocks.js", import.meta.url).href;

/**
 * Another thread: attaches the arena, does what it's told by messages, and answers each. `load` reads blocks all the
 * time until `stop`, and counts those that are neither right nor zeros.
 */
const OTHER = `
  import { parentPort, workerData } from "node:worker_threads";
  const { Engine } = await import(${JSON.stringify(PINLESS)});
  const { BLOCK_BYTES, wrongBlocks } = await import(${JSON.stringify(SUPPORT)});
  const { token, options, path } = workerData;
  const engine = await Engine.open(options);
  const arena = await engine.attach(token);
  const file = await engine.openFile(path, "r+");
  let goOn = true;
  let loading = null;
  const counts = { reads: 0, wrong: [], refused: 0 };
  const isZero = (bytes) => bytes.every((byte) => byte === 0);
  const one = async (slot, at) => {
    for (let n = slot; goOn; n++) {
      const block = n % ${SHARED_BLOCKS};
      let buffer;
      try {
        buffer = arena.view(at + slot * BLOCK_BYTES, BLOCK_BYTES);
        await file.read(buffer, { position: block * BLOCK_BYTES });
      } catch (error) {
        if (error.code !== "EFAULT" && error.code !== "ERR_PINLESS_CLOSED") throw error;
        counts.refused++;
        return;
      }
      counts.reads++;
      // In this order: a page that is discarded between the two looks is zeros at the second.
      const found = wrongBlocks(buffer, block);
      if (found !== null && !isZero(buffer)) counts.wrong.push(found);
    }
  };
  const commands = {
    load: (at = 0) => { loading = Promise.all(Array.from({ length: 8 }, (_, slot) => one(slot, at))); },
    stop: async () => { goOn = false; await loading; return { ...counts, stats: engine.stats() }; },
    read: async (block, at) => {
      // Views of a view know their memory too.
      const buffer = arena.view(at, 2 * BLOCK_BYTES).subarray(0, BLOCK_BYTES);
      await file.read(buffer, { position: block * BLOCK_BYTES });
      return wrongBlocks(buffer, block);
    },
    counts: () => counts,
    discard: (at, bytes) => arena.discard(arena.view(at, bytes)),
    operation: (name, ...of) => arena[name](...of),
    exclusive: async (at, value) => {
      const { result } = await arena.exclusive(arena.view(at, BLOCK_BYTES), (bytes) => bytes.fill(value).length);
      return result;
    },
    detach: () => arena.close(),
    close: () => engine.close(),
    hang: () => { for (;;); },
  };
  parentPort.on("message", async ([name, ...of]) => {
    try {
      parentPort.postMessage({ answer: await commands[name](...of) });
    } catch (error) {
      parentPort.postMessage({ code: error.code, message: String(error.stack) });
    }
  });
  parentPort.postMessage({ answer: arena.bytes });
`;

export interface Other {
  readonly worker: Worker;
  /** Sends a command and returns the answer, or throws its error. */
  ask<T = unknown>(name: string, ...of: unknown[]): Promise<T>;
}

/** Starts the thread. Its file has `SHARED_BLOCKS` numbered blocks. It ends with the test, if not before. */
export async function otherThread(
  t: TestContext,
  token: ArenaToken,
  options: EngineOptions,
  file: string,
): Promise<Other> {
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(OTHER)}`), {
    workerData: { token, options, path: file },
    transferList: [token],
  });
  t.after(() => worker.terminate());
  const failed = new Promise<never>((_, reject) => worker.once("error", reject));
  failed.catch(() => {});
  const answered = async <T>(): Promise<T> => {
    const [{ answer, code, message }] = await Promise.race([once(worker, "message"), failed]);
    if (message === undefined) return answer;
    throw Object.assign(new Error(message), { code });
  };
  await answered();
  return {
    worker,
    ask: (name, ...of) => {
      const answer = answered<never>();
      worker.postMessage([name, ...of]);
      return answer;
    },
  };
}

/** Counts of the reads of `load`: all, the wrong ones, and loops that ended because the memory was gone. */
export interface Counts {
  readonly reads: number;
  readonly wrong: readonly string[];
  readonly refused: number;
}
