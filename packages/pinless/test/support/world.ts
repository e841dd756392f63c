/** A machine large enough for a few files and an arena, with programs that see bytes. */

import type { WorldOptions } from "../../../lab/dist/simulate/simulated-world.js";

const PAGES = 32 * 256;

export function smallWorld(): WorldOptions {
  return {
    seed: 5,
    design: "gup",
    size: {
      frames: PAGES,
      pages: 8 * PAGES,
      swapSlots: 8,
      blocks: 8 * 4096,
      bufferSlots: 16,
      bufferPages: 512,
      requests: 64,
      requestPages: 16,
    },
    timing: { deviceMs: [0.01, 0.2], releaseMs: 1, tagMs: 0, tags: "own", wakeMs: 0.005 },
    later: (step) => void setImmediate(step),
    uncaught: (error) => {
      throw error;
    },
  };
}
