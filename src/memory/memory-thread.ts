/** The memory thread: does one operation after the other, and says what came of it. */

import { parentPort } from "node:worker_threads";
import type { MemoryRequest, MemoryResult } from "../core/ports.js";
import { loadLibc } from "../linux/libc.js";
import { runOperation } from "./operations.js";

const port = parentPort!;
const ready = loadLibc();

port.on("message", ({ id, request }: { id: number; request: MemoryRequest }) => {
  void ready.then(() => {
    const result: MemoryResult = runOperation(request);
    port.postMessage({ id, result });
  });
});
