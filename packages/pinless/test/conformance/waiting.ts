/** Waiting requests hold no resource that others need, and aren't overtaken. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { File } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { type Ground, withEngine } from "./ground.js";

const CHUNK = 64 * 1024;
const MIB = 1 << 20;
const BLOCKS = 512;
const DEPTH = 4;
/** More than there are slots, and more than staging memory has room for. */
const MANY = 3 * DEPTH;

interface Bed {
  readonly engine: PortableEngine;
  readonly arena: Arena;
  /** Whole chunks. */
  readonly mine: Uint8Array;
  readonly others: Uint8Array;
  readonly file: File;
  readonly log: File;
}

type Start = (bed: Bed) => Promise<unknown>[];

/** I/O on `mine` that an exclusive holds, in every way that there is. */
const HELD: Readonly<Record<string, Start>> = {
  "reads straight into memory": ({ file, mine }) =>
    times((i) => file.read(mine.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), { position: i * BLOCK_BYTES })),
  "writes straight from memory": ({ file, mine }) =>
    times((i) => file.write(mine.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), { position: i * BLOCK_BYTES })),
  "copied reads": ({ file, mine }) => times((i) => file.read(mine.subarray(1, 1 + MIB), { position: i * BLOCK_BYTES })),
  "copied writes": ({ file, mine }) =>
    times((i) => file.write(mine.subarray(1, 1 + MIB), { position: i * BLOCK_BYTES })),
  "unaligned reads": ({ file, mine }) => times((i) => file.read(mine.subarray(0, 100), { position: 1 + i })),
  "unaligned writes": ({ file, mine }) => times((i) => file.write(mine.subarray(0, 100), { position: 1 + i })),
  vectors: ({ file, mine }) => [
    file.readv([mine.subarray(0, BLOCK_BYTES), mine.subarray(BLOCK_BYTES, 2 * BLOCK_BYTES)], 0),
    file.writev([mine.subarray(0, BLOCK_BYTES), mine.subarray(5, 10)], 0),
  ],
  submissions: ({ file, mine }) => [
    ...submissions(file, "write", mine.subarray(0, BLOCK_BYTES)),
    ...submissions(file, "read", mine.subarray(BLOCK_BYTES, 2 * BLOCK_BYTES)),
    ...submissions(file, "write", mine.subarray(1, 100)),
    ...submissions(file, "read", mine.subarray(100, 200)),
  ],
};

function times(start: (i: number) => Promise<unknown>): Promise<unknown>[] {
  return Array.from({ length: MANY }, (_, i) => start(i));
}

/** As many as are accepted: it must say busy at some time. */
function submissions(file: File, op: "read" | "write", view: Uint8Array): Promise<unknown>[] {
  const all: Promise<unknown>[] = [];
  for (let busy = false; !busy; ) {
    all.push(
      new Promise<void>((resolve, reject) => {
        const done = (errno: number): void => (errno === 0 ? resolve() : reject(new Error(`errno ${errno}`)));
        if (file.submit(op, view, 0, done) !== "busy") return;
        busy = true;
        resolve();
      }),
    );
    assert.ok(all.length < 1000, "submit never answers busy");
  }
  return all;
}

/** Everything that has nothing to do with `mine`, one after the other. */
async function useOthers({ engine, arena, others, file, log }: Bed, path: string): Promise<void> {
  await file.read(others.subarray(0, BLOCK_BYTES), { position: 0 });
  await file.write(others.subarray(0, BLOCK_BYTES), { position: 256 * BLOCK_BYTES });
  await file.read(new Uint8Array(MIB), { position: 3 });
  await file.write(new Uint8Array(5), { position: 256 * BLOCK_BYTES + 1 });
  await file.write(others.subarray(3, 8), { position: 256 * BLOCK_BYTES + 1 });
  await file.readv([new Uint8Array(9), others.subarray(0, BLOCK_BYTES)], 7);
  await file.writev([new Uint8Array(9), others.subarray(0, BLOCK_BYTES)], 256 * BLOCK_BYTES);
  await log.write("hello");
  for (const view of [others.subarray(0, BLOCK_BYTES), others.subarray(1, 100), new Uint8Array(100)]) {
    for (const op of ["read", "write"] as const) {
      const position = op === "read" ? 0 : 256 * BLOCK_BYTES;
      await new Promise<void>((resolve) => {
        const submit = (): void => {
          if (file.submit(op, view, position, () => resolve()) === "busy") void engine.drained().then(submit);
        };
        submit();
      });
    }
  }
  await engine.drained();
  await arena.discard(others);
  const another = await engine.openFile(path, "r+");
  const read = another.read(new Uint8Array(100), { position: 1 });
  await another.close();
  await read;
}

export function waiting(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;
  const withBed = async (body: (bed: Bed, path: string) => Promise<void>): Promise<void> => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    const logPath = await ground.file(new Uint8Array(0));
    await withEngine(ground, { depth: DEPTH, lease: { chunk: CHUNK } }, async (engine) => {
      const arena = await engine.arena({ bytes: 4 * MIB });
      const mine = arena.alloc(2 * MIB);
      const others = arena.alloc(CHUNK);
      const file = await engine.openFile(path, "r+");
      const log = await engine.openFile(logPath, "r+");
      await body({ engine, arena, mine, others, file, log }, path);
    });
  };

  for (const [what, start] of Object.entries(HELD)) {
    test(named(`Arena.exclusive that awaits I/O elsewhere, over ${what}: what is held holds nothing`), () =>
      withBed(async (bed, path) => {
        const { arena, mine } = bed;
        let held: Promise<unknown>[] = [];
        await arena.exclusive(mine, async () => {
          held = start(bed);
          await useOthers(bed, path);
        });
        await Promise.all(held);
        const { submitted, completed, failed } = bed.engine.stats();
        assert.deepEqual([completed, failed], [submitted, 0]);
      }),
    );
  }

  test(named("what an exclusive holds arrives: every read has its bytes, every write the memory's as it left it"), () =>
    withBed(async ({ arena, mine, file }) => {
      const reads: Promise<unknown>[] = [];
      await arena.exclusive(mine, async (bytes) => {
        for (let i = 0; i < MANY; i++)
          reads.push(file.read(mine.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), { position: i * BLOCK_BYTES }));
        reads.push(file.write(mine.subarray(MIB, MIB + BLOCK_BYTES), { position: 300 * BLOCK_BYTES }));
        reads.push(file.write(mine.subarray(MIB + 1, MIB + 101), { position: 301 * BLOCK_BYTES + 1 }));
        await file.read(new Uint8Array(100), { position: 0 });
        bytes.fill(7);
      });
      await Promise.all(reads);
      assert.equal(wrongBlocks(mine.subarray(0, MANY * BLOCK_BYTES), 0), null);
      const written = new Uint8Array(BLOCK_BYTES + 101);
      await file.read(written, { position: 300 * BLOCK_BYTES });
      assert.ok(written.subarray(0, BLOCK_BYTES).every((byte) => byte === 7));
      assert.ok(written.subarray(BLOCK_BYTES + 1).every((byte) => byte === 7));
    }),
  );

  test(named("a copied read whose range is taken while it's under way keeps no staging memory"), () =>
    withBed(async (bed, path) => {
      const { arena, mine, file } = bed;
      const reads = times((i) => file.read(mine.subarray(1, 1 + MIB), { position: i * BLOCK_BYTES }));
      const writes = times((i) => file.write(mine.subarray(1, 1 + MIB), { position: i * BLOCK_BYTES }));
      await arena.exclusive(mine, () => useOthers(bed, path));
      await Promise.all([...reads, ...writes]);
    }),
  );

  test(named("a loop that submits again in done leaves their turns to reads, writes, drained() and close()"), () =>
    withBed(async (bed, path) => {
      const { engine, mine, file } = bed;
      let running = true;
      let ended = 0;
      const lanes: Promise<void>[] = [];
      // As many as there's room for, and each asks for the next inside of its answer, or as soon as there's room.
      for (let lane = 0; lane < DEPTH; lane++)
        lanes.push(
          new Promise<void>((resolve, reject) => {
            const view = mine.subarray(lane * BLOCK_BYTES, (lane + 1) * BLOCK_BYTES);
            const next = (): void => {
              if (file.submit(lane % 2 === 0 ? "read" : "write", view, 0, done) === "busy")
                void engine.drained().then(next);
            };
            const done = (errno: number): void => {
              ended++;
              if (errno !== 0) reject(new Error(`errno ${errno}`));
              else if (running && ended < 100_000) next();
              else resolve();
            };
            next();
          }),
        );
      const began = ended;
      await useOthers(bed, path);
      await useOthers(bed, path);
      const beside = ended - began;
      running = false;
      await Promise.all(lanes);
      assert.ok(beside < 20_000, `${beside} requests of the loop ended meanwhile`);
    }),
  );

  test(named("drained() gives the loop a turn where it's memory that there is no room for"), () =>
    withBed(async ({ engine, arena, mine, file }) => {
      const submitted: Promise<unknown>[] = [];
      await arena.exclusive(mine, async () => {
        submitted.push(...submissions(file, "read", mine.subarray(0, BLOCK_BYTES)));
        let turns = 0;
        let looking = true;
        const look = async (): Promise<void> => {
          while (looking) {
            await engine.drained();
            if (!looking) return;
            assert.equal(
              file.submit("read", mine.subarray(0, BLOCK_BYTES), 0, () => {}),
              "busy",
            );
          }
        };
        submitted.push(look());
        while (turns < 20) {
          await file.read(new Uint8Array(10), { position: 0 });
          turns++;
        }
        looking = false;
      });
      await Promise.all(submitted);
    }),
  );
}
