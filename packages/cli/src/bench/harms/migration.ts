/** Migrates an arena's pages to another NUMA node and back, while reads are in flight. */

import { readByEngine } from "../bench-load.js";
import type { EngineReads } from "../configurations.js";
import { Meter, newLatency } from "../meter.js";
import { isSkipped, type MigrationFigures } from "../report-schema.js";
import { layOut, openEngine } from "../subject.js";
import type { MigrationTask, Target } from "../worker-protocol.js";
import { OperationCounts } from "./storm.js";

const REQUEST_BYTES = 4096;

export async function migration(
  reads: EngineReads,
  target: Target,
  { ms, nodes }: MigrationTask,
): Promise<MigrationFigures> {
  const subject = await openEngine(reads, target);
  try {
    const { engine, arena, file } = subject;
    const { chunks, buffers } = layOut(arena);
    const slots = buffers.get(REQUEST_BYTES)!;
    const reading = readByEngine(engine, file, slots, new Meter(target, REQUEST_BYTES, slots, newLatency()));
    const tally = new OperationCounts();
    try {
      const began = performance.now();
      // Every chunk goes to each node in turn, and at least once to each, because it may be on the first one already.
      for (let turn = 0; turn < nodes.length || performance.now() - began < ms; turn++)
        for (const chunk of chunks) tally.add(await arena.migrate({ node: nodes[turn % nodes.length]! }, chunk));
    } finally {
      await reading.stop();
    }
    const figures = tally.figures();
    if (isSkipped(figures)) throw new Error(figures.skipped);
    return { ...figures, nodes };
  } finally {
    await subject.close();
  }
}
