/**
 * Memory management beside I/O: reclaim, huge pages, compaction, NUMA nodes, fork, the limit on locked memory. Memory
 * that isn't pinned takes part in all of it and loses nothing; memory that is registered for life is the control.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { EngineOptions, File } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { until } from "../support/until.js";
import { BLOCKS, LEASES, MIB } from "./bed.js";
import { type Ground, withEngine } from "./ground.js";

const HUGE_PAGE_BYTES = 2 * MIB;
const EAGAIN = -11;
/** Leases that stay, and leases that end soon after their last use. */
const KEPT = { lease: LEASES } satisfies EngineOptions;
const SOON = { lease: { chunk: MIB, idle: 1 } } satisfies EngineOptions;

interface Bed {
  readonly engine: PortableEngine;
  readonly arena: Arena;
  readonly file: File;
  readonly memory: Uint8Array;
}

/** Anonymous memory in small pages, and a file of numbered blocks. */
async function withBed(
  ground: Ground,
  options: EngineOptions,
  made: { bytes: number; inherit?: boolean },
  body: (bed: Bed) => Promise<void>,
): Promise<void> {
  const path = await ground.file(numberedBlocks(BLOCKS));
  await withEngine(ground, { depth: 32, ...options }, async (engine) => {
    const arena = await engine.arena({ ...made, hugePages: false });
    await body({ engine, arena, memory: arena.alloc(made.bytes), file: await engine.openFile(path, "r") });
    assert.equal(engine.stats().failed, 0);
  });
}

/** Reads the file into memory from its begin on, block by block. */
async function readAll(file: File, memory: Uint8Array): Promise<void> {
  const read = (block: number): Promise<unknown> =>
    file.read(memory.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES), { position: block * BLOCK_BYTES });
  await Promise.all(Array.from({ length: Math.min(BLOCKS, memory.byteLength / BLOCK_BYTES) }, (_, i) => read(i)));
}

/** Reads until every chunk has a lease, where there are any: that takes a second use. */
async function warmUp(ground: Ground, { engine, file, memory }: Bed): Promise<void> {
  for (let round = 0; round < 2; round++) await readAll(file, memory);
  const chunks = memory.byteLength / KEPT.lease.chunk;
  for (let round = 0; round < 10 && ground.pin === "lease" && engine.stats().leases.live < chunks; round++)
    await readAll(file, memory);
  if (ground.pin === "lease") assert.equal(engine.stats().leases.live, chunks);
}

/** Reads until the condition holds: time passes on the model too, and unused leases end. */
function untilBeside({ file, memory }: Bed, what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  return until(what, async () => {
    await file.read(memory.subarray(0, BLOCK_BYTES), { position: 0 });
    return condition();
  });
}

export function memoryManagement(ground: Ground): void {
  const { harmed, around } = ground;
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(
    named(
      `DEVICE_WRITES_DIRTY: reads into clean pages ${harmed ? "are lost to reclaim (the control)" : "survive reclaim"}`,
    ),
    () =>
      withBed(ground, KEPT, { bytes: BLOCKS * BLOCK_BYTES }, async (bed) => {
        const { engine, arena, file, memory } = bed;
        await warmUp(ground, bed);
        memory.fill(0x22);
        await arena.discard(memory, { lazily: true });
        const before = engine.stats().perIo;
        await readAll(file, memory);
        if (ground.pin !== "per-io") assert.equal(engine.stats().perIo, before, "some went without a registration");
        await engine.releasePins();
        const lost = (): number => {
          around.reclaim(memory);
          const wrong = (block: number): boolean =>
            wrongBlocks(memory.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES), block) !== null;
          return Array.from({ length: BLOCKS }, (_, block) => block).filter(wrong).length;
        };
        // The kernel may hold the pages for a moment yet.
        if (harmed) await until("most of it to be lost", () => lost() > BLOCKS / 2);
        else for (let round = 0; round < 3; round++) assert.equal(lost(), 0);
      }),
  );

  test(
    named(`MADV_COLLAPSE of other code ${harmed ? "fails if registered (control)" : "succeeds once leases end"}`),
    { skip: around.noHugePages },
    () =>
      withBed(ground, SOON, { bytes: 2 * HUGE_PAGE_BYTES }, async (bed) => {
        const area = bed.memory.subarray(HUGE_PAGE_BYTES);
        for (let round = 0; round < 2; round++) await readAll(bed.file, area);
        const content = Uint8Array.from(area);
        let tries = 0;
        await untilBeside(bed, "a huge page", () => {
          const errno = around.collapse(area);
          if (harmed) assert.equal(errno, EAGAIN);
          return harmed ? ++tries === 50 : errno === 0;
        });
        assert.deepEqual(area, content);
      }),
  );

  const { compaction, limited } = around;
  if (compaction !== undefined)
    test(
      named(`compaction ${harmed ? "leaves what is registered (the control)" : "moves leases at rest"}`),
      async () => {
        // What is free then is where it takes pages from.
        compaction.run();
        await withBed(ground, SOON, { bytes: 2 * MIB }, async (bed) => {
          const resting = bed.memory.subarray(MIB);
          for (let round = 0; round < 2; round++) await readAll(bed.file, resting);
          const content = Uint8Array.from(resting);
          const first = compaction.framesOf(resting);
          let tries = 0;
          await untilBeside(bed, "every page to be moved", () => {
            compaction.run();
            const now = compaction.framesOf(resting);
            if (harmed) assert.deepEqual(now, first);
            return harmed ? ++tries === 10 : now.every((frame, i) => frame !== first[i]);
          });
          assert.deepEqual(resting, content);
        });
      },
    );

  otherNodes(ground);

  if (limited !== undefined && limited.bytes <= 8 * MIB && ground.pin !== "per-io")
    test(
      named("two engines under one RLIMIT_MEMLOCK: an engine without room says so, and every read arrives"),
      async () => {
        const path = await ground.file(numberedBlocks(BLOCKS));
        const options = { depth: 8, lease: { budget: 6 * MIB, idle: 3_600_000, max: 3_600_000 } };
        const engines = [await limited.open(options), await limited.open(options)];
        try {
          for (const engine of engines) {
            const file = await engine.openFile(path, "r");
            const memory = (await engine.arena({ bytes: 6 * MIB })).alloc(6 * MIB);
            for (let round = 0; round < 2; round++)
              for (let at = 0; at < memory.byteLength; at += HUGE_PAGE_BYTES) {
                const area = memory.subarray(at, at + BLOCKS * BLOCK_BYTES);
                await readAll(file, area);
                assert.equal(wrongBlocks(area, 0), null);
              }
          }
          // In the proposal's kernel a registration locks nothing.
          const none = ground.pin === "lifetime" && !harmed;
          const degraded = engines.flatMap((engine) => engine.stats().degraded).join("\n");
          assert.match(degraded, none ? /^$/ : harmed ? /refused with ENOMEM/ : /RLIMIT_MEMLOCK/);
        } finally {
          for (const engine of engines) await engine.close();
        }
      },
    );

  forks(ground);
}

/** Tests that need two NUMA nodes. */
export function otherNodes(ground: Ground): void {
  const { harmed, around } = ground;
  const { nodes } = around;
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(
    named(`Arena.migrate to another node under reads: ${harmed ? "nothing moves (the control)" : "every page moves"}`),
    { skip: nodes.length < 2 && "machine: one NUMA node" },
    () =>
      withBed(ground, {}, { bytes: 2 * MIB }, async ({ arena, file, memory }) => {
        const pages = memory.byteLength / BLOCK_BYTES;
        const all = (node: number): boolean => around.pagesOn(node, memory) === pages;
        for (let round = 0; round < 2; round++) await readAll(file, memory);
        for (const node of [nodes[1]!, nodes[0]!]) {
          const before = around.pagesOn(node, memory);
          const reads = readAll(file, memory);
          const migrate = async (): Promise<number> => (await arena.migrate({ node })).busy;
          if (harmed) assert.equal(await migrate(), pages - before);
          // NUMA balancing, where it's on, may take some back.
          else await until("every page to be there", async () => (await migrate()) === 0 && all(node));
          if (harmed) assert.equal(around.pagesOn(node, memory), before);
          await reads;
          assert.equal(wrongBlocks(memory.subarray(0, BLOCKS * BLOCK_BYTES), 0), null);
        }
      }),
  );
}

/** A child of the process, which V8 knows nothing of. */
export function forks(ground: Ground): void {
  const { around } = ground;
  const named = (name: string): string => `${ground.name}: ${name}`;

  test(
    named("fork: a child doesn't get an arena, and reads arrive before and after it"),
    { skip: around.noFork },
    (t) =>
      withBed(ground, KEPT, { bytes: BLOCKS * BLOCK_BYTES }, async (bed) => {
        const { file, memory } = bed;
        await warmUp(ground, bed);
        const reads = readAll(file, memory);
        const child = await around.fork(t, memory.subarray(0, BLOCK_BYTES));
        await reads;
        assert.equal(wrongBlocks(memory, 0), null);
        memory.fill(0x22);
        await readAll(file, memory);
        assert.equal(wrongBlocks(memory, 0), null);
        assert.equal(child.look(), null);
      }),
  );

  const { forkHarms } = around;
  test(
    named(`fork with \`inherit\`: a read after a store ${forkHarms ? "goes to the child (control)" : "arrives"}`),
    { skip: around.noFork },
    (t) =>
      withBed(ground, KEPT, { bytes: MIB, inherit: true }, async ({ file, memory }) => {
        const part = memory.subarray(0, 4 * BLOCK_BYTES);
        for (let round = 0; round < 2; round++) await file.read(part, { position: 0 });
        const child = await around.fork(t, part);
        part.fill(0x22);
        await file.read(part, { position: 8 * BLOCK_BYTES });
        if (forkHarms) assert.ok(isFilledWith(part, 0x22));
        else assert.equal(wrongBlocks(part, 8), null);
        assert.equal(wrongBlocks(child.look()!, forkHarms ? 8 : 0), null);
      }),
  );
}
