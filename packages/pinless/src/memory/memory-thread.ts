/** A memory thread: does one operation after the other, and says what came of it. */

import { parentPort, workerData } from "node:worker_threads";
import { hasLoaded } from "../linux/ffi-startup.js";
import { gettid, loadLibc } from "../linux/libc.js";
import type { MemoryRequest } from "../ports/memory.js";
import { inOne } from "./operation-pieces.js";
import { runOperation } from "./operations.js";
import type { MemoryAnswer, MemoryThreadData } from "./thread-host.js";

const port = parentPort!;
const { tids, at, loading } = workerData as MemoryThreadData;
const ready = loadLibc().then(() => {
  hasLoaded(loading);
  // The monitor knows our own calls by this.
  Atomics.store(tids, at, gettid());
});

// Null: there's nothing to be done any more.
port.on("message", (request: MemoryRequest | null) => {
  if (request === null) port.close();
  else void ready.then(() => port.postMessage(answer(request)));
});

/** What node:fs throws is an answer too: one request that fails has nothing to do with the others. */
function answer(request: MemoryRequest): MemoryAnswer {
  try {
    return { result: runOperation(request) };
  } catch (error) {
    const { errno, message } = error as NodeJS.ErrnoException;
    if (errno === undefined) return { error: error as Error };
    const { address, bytes } = request;
    return { result: { ...inOne({ start: address, end: address + bytes }, errno), reason: message } };
  }
}
