// Watches this process's pins from a thread of its own, so that it also sees them while the main thread is busy.

import { readFileSync } from "node:fs";
import { parentPort } from "node:worker_threads";

const pinnedBytes = () => 1024 * Number(/^VmPin:\s*(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))[1]);

parentPort.on("message", () => {
  const began = performance.now();
  const peak = pinnedBytes();
  while (pinnedBytes() > 0 && performance.now() - began < 5000);
  parentPort.postMessage({ ms: performance.now() - began, peak });
});
parentPort.postMessage("ready");
