/** The memory thread: does one operation after the other, and says what came of it. */

import { parentPort, workerData } from "node:worker_threads";
import type { MemoryRequest, MemoryResult } from "../core/ports.js";
import { gettid, loadLibc } from "../linux/libc.js";
import { hasLoaded } from "../linux/loading.js";
import { runOperation } from "./operations.js";
import type { MemoryThreadData } from "./thread-host.js";

const port = parentPort!;
const { tid, loading } = workerData as MemoryThreadData;
const ready = loadLibc().then(() => {
  hasLoaded(loading);
  // The monitor knows our own calls by this.
  Atomics.store(tid, 0, gettid());
});

port.on("message", ({ id, request }: { id: number; request: MemoryRequest }) => {
  void ready.then(() => {
    const result: MemoryResult = runOperation(request);
    port.postMessage({ id, result });
  });
});
