/**
 * Simulates one design at one point of a what-if: a machine, a program and memory operations, in virtual time. The same
 * seed gives the same run.
 */

import { PAGE_BYTES } from "pinless/portable";
import { NamedRandom } from "../model/random.js";
import { VirtualClock } from "../model/virtual-clock.js";
import { Blocks } from "./blocks.js";
import { Chunks } from "./chunks.js";
import { type DesignName, designOf } from "./designs.js";
import { Load } from "./machine-load.js";
import { Operations } from "./memory-events.js";
import type { Plan } from "./plan.js";
import type { Figures } from "./what-if-figures.js";

export function simulateDesign(plan: Plan, name: DesignName, seed: number): Figures {
  const clock = new VirtualClock();
  const random = new NamedRandom(seed);
  const chunks = new Chunks(plan);
  const blocks = new Blocks(plan, random.stream("layout"));
  const design = designOf(name, plan, chunks);
  const load = new Load(plan, chunks, design, clock, random);
  const operations = new Operations({ plan, chunks, blocks, design, load, clock, random });
  load.onSwappedIn = () => blocks.addBuffers(512, random.stream("where pages go"));
  const { idleMs } = plan.lease;
  const stop = clock.every(idleMs / 4, () => {
    load.notePins();
    load.work(0, design.tick(clock.nowMs));
  });
  const endMs = plan.run.seconds * 1000;
  const piecePages = plan.buffers.pages === "huge" ? 512 : plan.buffers.pieceBytes / PAGE_BYTES;
  const obtainable = (): Figures["hugePages"]["atRest"] =>
    blocks.obtainable(design.pinnedShare(), piecePages, new NamedRandom(seed).stream("huge pages"));

  load.begin();
  operations.begin();
  const pass = (untilMs: number): void => {
    let reached = false;
    clock.after(untilMs - clock.nowMs, () => {
      reached = true;
    });
    while (!reached) clock.step();
  };
  pass(endMs);
  load.notePins();
  const underLoad = obtainable();
  const cpuUs = load.cpuUs;
  // Lets requests in flight end, and idle leases be given back.
  while (load.inFlight > 0 && clock.step());
  pass(clock.nowMs + 2 * idleMs);
  stop();

  const { counters } = design;
  const operationFigures = operations.figures;
  const perSecond = load.requests / plan.run.seconds;
  return {
    design: name,
    how: design.title,
    requests: load.requests,
    requestsPerSecond: perSecond,
    mibPerSecond: (perSecond * plan.io.requestBytes) / 2 ** 20,
    latency: load.latency.quantiles(),
    cpuUsPerRequest: cpuUs / Math.max(1, load.requests),
    cpuShare: Math.min(1, cpuUs / (endMs * 1000 * plan.io.threads)),
    startMs: design.startMs,
    operations: operationFigures,
    blocked: operations.blocked.quantiles(),
    fork: operations.forks.quantiles(),
    pinnedPages: {
      mean: load.pinnedPageMs / endMs,
      most: load.pinnedPagesMost,
      atRest: design.pinnedPages(),
    },
    hugePages: { underLoad, atRest: obtainable() },
    revalidations: counters.revalidations,
    revalidationUs: counters.revalidationUs,
    leases: { taken: counters.leasesTaken, givenBack: counters.leasesGiven, us: counters.leaseUs },
    filtered: counters.filtered,
    writebackWaits: load.writebackWaits.quantiles(),
    readsLost: counters.readsLost,
    unsafeWrites: counters.unsafeWrites,
    swappedIn: load.swappedIn,
    simulatedInBytes: chunks.memoryBytes + blocks.memoryBytes + load.memoryBytes,
  };
}
