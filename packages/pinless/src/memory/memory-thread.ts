/** Main program of a memory thread: runs one operation after the other and posts each result. */

import { parentPort, workerData } from "node:worker_threads";
import { hasLoaded } from "../linux/ffi-startup.js";
import { gettid } from "../linux/libc.js";
import { loadLibc } from "../linux/libc-bindings.js";
import type { MemoryRequest } from "../ports/memory.js";
import { linuxMemoryKernel, runBlocking } from "./linux-memory-kernel.js";
import { inOne } from "./operation-pieces.js";
import { runOperation } from "./operations.js";
import type { MemoryAnswer, MemoryThreadData } from "./thread-host.js";

const port = parentPort!;
const { tids, at, loading } = workerData as MemoryThreadData;
const ready = loadLibc().then(() => {
  hasLoaded(loading);
  // The monitor recognises our own calls by this.
  Atomics.store(tids, at, gettid());
});

// Null ends the thread.
port.on("message", (request: MemoryRequest | null) => {
  if (request === null) port.close();
  else void ready.then(() => port.postMessage(answer(request)));
});

/** Runs a request. An exception of node:fs becomes its answer, so that the thread goes on. */
function answer(request: MemoryRequest): MemoryAnswer {
  try {
    return { result: runBlocking(runOperation(request, linuxMemoryKernel)) };
  } catch (error) {
    const { errno, message } = error as NodeJS.ErrnoException;
    if (errno === undefined) return { error: error as Error };
    const { address, bytes } = request;
    return { result: { ...inOne({ start: address, end: address + bytes }, errno), reason: message } };
  }
}
