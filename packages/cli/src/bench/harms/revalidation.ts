/**
 * Cost of re-validation after an invalidation: invalidations of the memory that reads use are compared with as many in
 * another arena of the same engine, where nothing is read. A second control are the pin modes without re-validation.
 * The invalidation is a discard of less than a page, which writes zeros and leaves every page in place, so that only
 * the lease has to be taken again.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Arena } from "pinless";
import { readByEngine } from "../bench-load.js";
import { median } from "../collect.js";
import { arenaOptions, type EngineReads } from "../configurations.js";
import { Meter, newLatency } from "../meter.js";
import type { RevalidationFigures } from "../report-schema.js";
import { type BenchLayout, type EngineSubject, layOut, madeOf, openEngine } from "../subject.js";
import { vmstat, went } from "../vmstat.js";
import type { RevalidationTask, Target } from "../worker-protocol.js";

const REQUEST_BYTES = 4096;
/** Invalidations at a time under load: half of the chunks, so that reads go on in the others. */
const AT_A_TIME = 4;
const PAUSE_MS = 1;
const PIECE_BYTES = 16;
const WARM_MS = 100;

/** Memory that is invalidated. */
interface InvalidatedMemory {
  readonly arena: Arena;
  readonly layout: BenchLayout;
}

export async function revalidation(
  reads: EngineReads,
  target: Target,
  task: RevalidationTask,
): Promise<RevalidationFigures> {
  const subject = await openEngine(reads, target);
  try {
    const { engine, arena } = subject;
    const other = await madeOf(reads.pages, () => engine.arena({ ...arenaOptions(reads), bytes: arena.bytes }));
    const here: InvalidatedMemory = { arena, layout: layOut(arena) };
    const elsewhere: InvalidatedMemory = { arena: other, layout: layOut(other) };
    return {
      ...(await oneAtATime(subject, here, elsewhere, task.pairs)),
      ...(await underLoad(subject, target, here, elsewhere, task)),
    };
  } finally {
    await subject.close();
  }
}

type Alone = Pick<RevalidationFigures, "invalidations" | "leasesTaken" | "usPerInvalidation" | "usPerLease">;

/**
 * Alternates between the two places: an invalidation, then two reads, since a lease is taken on the second use at the
 * latest.
 */
async function oneAtATime(
  { engine, file }: EngineSubject,
  here: InvalidatedMemory,
  elsewhere: InvalidatedMemory,
  pairs: number,
): Promise<Alone> {
  const buffers = here.layout.buffers.get(REQUEST_BYTES)!;
  const perChunk = buffers.length / here.layout.chunks.length;
  let taken = 0;
  const timed = async (where: InvalidatedMemory, chunk: number): Promise<number> => {
    await invalidate(where, chunk);
    const before = engine.stats().leases.taken;
    const began = performance.now();
    for (let i = 0; i < 2; i++) await file.read(buffers[chunk * perChunk]!, { position: 0 });
    const us = (performance.now() - began) * 1000;
    taken += (where === here ? 1 : -1) * (engine.stats().leases.taken - before);
    return us;
  };
  const us: { readonly here: number; readonly elsewhere: number }[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const chunk = pair % here.layout.chunks.length;
    us.push({ here: await timed(here, chunk), elsewhere: await timed(elsewhere, chunk) });
  }
  // An invalidation can't make reads faster: a difference below 0 is noise.
  const each = Math.max(0, median(us.map((pair) => pair.here)) - median(us.map((pair) => pair.elsewhere)));
  const leasesTaken = Math.max(0, taken);
  return {
    invalidations: pairs,
    leasesTaken,
    usPerInvalidation: places(each),
    usPerLease: leasesTaken === 0 ? null : places((each * pairs) / leasesTaken),
  };
}

interface Slice {
  readonly requests: number;
  readonly elapsedMs: number;
  readonly migrated: number;
}

type Loaded = Omit<RevalidationFigures, keyof Alone>;

async function underLoad(
  { engine, file }: EngineSubject,
  target: Target,
  here: InvalidatedMemory,
  elsewhere: InvalidatedMemory,
  task: RevalidationTask,
): Promise<Loaded> {
  const buffers = here.layout.buffers.get(REQUEST_BYTES)!;
  const meter = new Meter(target, REQUEST_BYTES, buffers, newLatency());
  const reading = readByEngine(engine, file, buffers, meter);
  const turns = Math.max(1, Math.round(task.sliceMs / (PAUSE_MS + 0.5)));
  const slice = async (where: InvalidatedMemory): Promise<Slice> => {
    meter.reset();
    const counters = vmstat();
    const began = performance.now();
    for (let turn = 0; turn < turns; turn++) {
      await Promise.all(Array.from({ length: AT_A_TIME }, (_, i) => invalidate(where, turn * AT_A_TIME + i)));
      await sleep(PAUSE_MS);
    }
    const elapsedMs = performance.now() - began;
    return { requests: meter.completed, elapsedMs, migrated: went("pgmigrate_success", counters, vmstat()) };
  };
  try {
    await sleep(WARM_MS);
    const rounds: { readonly here: Slice; readonly elsewhere: Slice }[] = [];
    for (let round = 0; round < task.rounds; round++)
      rounds.push({ here: await slice(here), elsewhere: await slice(elsewhere) });
    const rate = ({ requests, elapsedMs }: Slice): number => requests / elapsedMs;
    const fewer = rounds.map((round) => (rate(round.elsewhere) - rate(round.here)) * round.here.elapsedMs);
    return {
      requestsFewerPerInvalidation: places(Math.max(0, median(fewer)) / (turns * AT_A_TIME)),
      hostPagesMigrated: rounds.reduce((sum, round) => sum + round.here.migrated, 0),
      hostPagesMigratedElsewhere: rounds.reduce((sum, round) => sum + round.elsewhere.migrated, 0),
    };
  } finally {
    await reading.stop();
  }
}

/** Invalidates the end of a chunk, which `layOut` keeps out of the load's requests. */
async function invalidate({ arena, layout: { chunks } }: InvalidatedMemory, turn: number): Promise<void> {
  const chunk = chunks[turn % chunks.length]!;
  await arena.discard(chunk.subarray(chunk.byteLength - PIECE_BYTES));
}

function places(value: number): number {
  return Math.round(value * 100) / 100;
}
