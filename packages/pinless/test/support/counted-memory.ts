/** Staging memory of a test's own that counts what is in use, and can run out. */

import type { StagingMemory } from "../../dist/files/staging-memory.js";

interface MemoryInUse {
  memory: number;
  mostMemory: number;
  /** True if there is no memory. */
  full: boolean;
}

export function countedMemory(state: MemoryInUse): StagingMemory {
  return {
    acquire: async (bytes) => {
      if (state.full) throw new Error("no memory");
      state.memory += bytes;
      state.mostMemory = Math.max(state.mostMemory, state.memory);
      return new Uint8Array(bytes);
    },
    release: async (block) => {
      state.memory -= block.byteLength;
    },
  };
}
