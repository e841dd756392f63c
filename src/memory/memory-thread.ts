/** The memory thread: does one operation after the other, and says what came of it. */

import { parentPort, workerData } from "node:worker_threads";
import type { MemoryRequest, MemoryResult } from "../core/ports.js";
import { gettid, loadLibc } from "../linux/libc.js";
import { runOperation } from "./operations.js";

const port = parentPort!;
const ready = loadLibc().then(() => {
  // The monitor knows our own calls by this.
  Atomics.store(workerData as Int32Array, 0, gettid());
});

port.on("message", ({ id, request }: { id: number; request: MemoryRequest }) => {
  void ready.then(() => {
    const result: MemoryResult = runOperation(request);
    port.postMessage({ id, result });
  });
});
