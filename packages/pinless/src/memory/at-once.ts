/**
 * Prepares the engine's own staging memory, a few MiB, on the calling thread: that takes a millisecond or two, less
 * than starting a thread.
 */

import type { Memory, MemoryRequest, MemoryResult } from "../ports/memory.js";
import { linuxMemoryKernel, runBlocking } from "./linux-memory-kernel.js";
import { prepareAtOnce, runOperation } from "./operations.js";

export function atOnce(memory: Memory): Memory {
  return {
    map: (bytes, shared) => memory.map(bytes, shared),
    run: async (request) => runHere(request) ?? memory.run(request),
    explainNoRoom: (bytes) => memory.explainNoRoom(bytes),
    hasSwap: () => memory.hasSwap(),
    explainNoCollapse: () => memory.explainNoCollapse(),
    explainNoMigration: () => memory.explainNoMigration(),
    nodes: () => memory.nodes(),
  };
}

function runHere(request: MemoryRequest): MemoryResult | null {
  switch (request.operation) {
    case "prepare":
      return runBlocking(prepareAtOnce(request, linuxMemoryKernel));
    case "discard":
      return runBlocking(runOperation(request, linuxMemoryKernel));
    default:
      return null;
  }
}
