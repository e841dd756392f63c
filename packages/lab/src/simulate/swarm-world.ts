/** Builds the world for a seed's settings: the machine's size, its faults and its speed. */

import { PAGE_BYTES } from "pinless/portable";
import { CHILDREN } from "./children.js";
import { SimulatedWorld } from "./simulated-world.js";
import type { Swarm } from "./swarm.js";

/**
 * Additional memory in MiB, for three purposes: to align the arena to a huge page; to replace buffers that other code
 * unmaps or moves; and to map a file, with its staging memory.
 */
const ROOM_MIB = 4;
const UNMAPPED_MIB = 20;
const MAPPED_MIB = 20;
const PAGES_PER_MIB = 256;

export function worldOf(swarm: Swarm, seed: number, uncaught: (error: unknown) => void): SimulatedWorld {
  const { monitorTiming, callTiming, monitorFollowsAgain, foreignUnmapMs, mappedFile } = swarm;
  const { design, timing, faults, arenaMiB, engine, nodes, memlockPages, forkMs, sharesPinned } = swarm;
  const processes = forkMs > 0 ? 1 + CHILDREN : 1;
  const room = ROOM_MIB + (foreignUnmapMs > 0 ? UNMAPPED_MIB : 0) + (mappedFile === "none" ? 0 : MAPPED_MIB);
  const pages = (arenaMiB + room) * PAGES_PER_MIB;
  return new SimulatedWorld({
    seed,
    design,
    size: {
      frames: (1 + processes) * pages,
      nodes,
      pages,
      processes,
      sharesPinned,
      swapSlots: processes * pages,
      blocks: mappedFile === "none" ? 4096 : 4 * 4096,
      bufferSlots: 256,
      bufferPages: (engine.lease?.chunk ?? 2 << 20) / PAGE_BYTES,
      requests: 16 * 128,
      requestPages: 8,
      ...(memlockPages > 0 ? { memlock: { users: 1, pages: memlockPages } } : {}),
    },
    timing,
    faults,
    leaseCostPages: swarm.leaseCostPages,
    monitorTiming,
    callTiming,
    monitorFollowsAgain,
    bytes: false,
    later: () => {},
    uncaught,
  });
}
