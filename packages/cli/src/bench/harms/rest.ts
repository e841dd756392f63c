/** Pins that remain without I/O. */

import { setTimeout as sleep } from "node:timers/promises";
import { probe } from "pinless";
import { readByEngine } from "../bench-load.js";
import type { EngineReads } from "../configurations.js";
import { Meter, newLatency } from "../meter.js";
import type { RestFigures } from "../report-schema.js";
import { cut, openEngine, spread } from "../subject.js";
import type { RestTask, Target } from "../worker-protocol.js";

const REQUEST_BYTES = 128 << 10;

/** Pinned bytes while reads are in flight, and some time after the last one. */
export async function rest(reads: EngineReads, target: Target, task: RestTask): Promise<RestFigures> {
  const subject = await openEngine(reads, target);
  try {
    const buffers = spread(cut(subject.arena, REQUEST_BYTES));
    const meter = new Meter(target, REQUEST_BYTES, buffers, newLatency());
    const reading = readByEngine(subject.engine, subject.file, buffers, meter);
    await sleep(task.ms);
    const pinnedBytesUnderLoad = (await probe()).pinnedBytes;
    await reading.stop();
    await sleep(task.afterMs);
    const pinnedBytesAtRest = (await probe()).pinnedBytes;
    const { pin } = subject.engine;
    const residencyMaxMs =
      pin === "lease" ? subject.engine.stats().leases.residencyMax : pinnedBytesAtRest > 0 ? null : 0;
    return { pinnedBytesUnderLoad, pinnedBytesAtRest, afterMs: task.afterMs, residencyMaxMs };
  } finally {
    await subject.close();
  }
}
