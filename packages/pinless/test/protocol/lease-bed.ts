/** Leases alone, over one arena, with a kernel whose answers the test gives. */

import assert from "node:assert/strict";
import { ChunkTable, LEASE, USED_MS } from "../../dist/protocol/chunk-table.js";
import { READ, WRITE } from "../../dist/protocol/direction.js";
import { LeaseTable } from "../../dist/protocol/lease-table.js";
import { Leases } from "../../dist/protocol/leases.js";
import type { Pressure } from "../../dist/protocol/pressure.js";

export const CHUNK = 65536;
export const PAGE = 4096;
export const START = 0x7f00_0000_0000;
const CHUNKS = 8;

/** Leases over an arena of eight chunks, and what was asked of the kernel, in order. */
export function setUp({
  slots = 4,
  budgetPages = 1024,
  idleMs = 10,
  maxMs = 100,
  chunks = CHUNKS,
  chunkBytes = CHUNK,
  pressure = null as Pressure | null,
} = {}) {
  const calls: string[] = [];
  const gone: number[] = [];
  const first: number[] = [];
  const answers = { take: 0, populate: 0, costPages: 0 };
  const chunkOf = (address: number): number => (address - START) / CHUNK;
  const user = { another: false, asked: 0 };
  const registrations = {
    slots,
    comparesSegments: true,
    get userChanged(): boolean {
      user.asked++;
      return user.another;
    },
    take: (slot: number, address: number, bytes: number): number => {
      calls.push(`take ${slot}: chunk ${chunkOf(address)}, ${bytes / PAGE} pages`);
      return answers.take;
    },
    drop: (slot: number): number => {
      calls.push(`drop ${slot}`);
      return 0;
    },
    populate: (address: number, bytes: number): number => {
      calls.push(`populate chunk ${chunkOf(address)}, ${bytes / PAGE} pages`);
      return answers.populate;
    },
    costPages: () => answers.costPages,
  };
  const table = new ChunkTable({ start: START, end: START + chunks * chunkBytes }, chunkBytes);
  const leases: Leases = new Leases(
    new LeaseTable({ slots, budgetBytes: budgetPages * PAGE, idleMs, maxMs }),
    registrations,
    [table],
    { firstTaken: (nowMs) => void first.push(nowMs), pressure },
  );
  leases.connect({
    leaseGone: (_table, chunk) => {
      gone.push(chunk);
      table.store(chunk, LEASE, 0);
    },
  });
  const said = (): string[] => calls.splice(0);
  /** As the gate does: looks for a lease, and notes that the chunk was used. */
  const use = (chunk: number, nowMs: number, deviceWrite = false, bytes = PAGE): number => {
    const slot = leases.acquire(0, chunk, deviceWrite ? READ : WRITE, nowMs, bytes);
    table.store(chunk, USED_MS, nowMs);
    return slot;
  };
  return { leases, table, answers, user, said, gone, first, use };
}

/** A lease for each of these chunks. */
export function setUpWith(chunks: number[], options: Parameters<typeof setUp>[0] = {}) {
  const all = setUp(options);
  for (const chunk of chunks) {
    all.use(chunk, chunk + 1);
    assert.ok(all.use(chunk, chunk + 2) >= 0);
  }
  all.said();
  return all;
}
