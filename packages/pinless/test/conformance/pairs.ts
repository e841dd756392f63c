/**
 * Every two calls on one arena, its engine and a file, begun at the same moment: no other bytes change, nothing hangs,
 * and errors say why.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { File } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { BLOCKS, CHUNK, MIB } from "./bed.js";
import { type Ground, withEngine } from "./ground.js";

interface Bed {
  readonly engine: PortableEngine;
  readonly arena: Arena;
  readonly ofFile: boolean;
  readonly path: string;
  readonly file: File;
  /** The calls are about this buffer. */
  readonly memory: Uint8Array;
  /** Buffers that calls allocated later, each filled with 7. */
  readonly later: Uint8Array[];
  /** Bytes by which the arena has grown. */
  grown: number;
}

type Call = (bed: Bed) => Promise<unknown>;

const GROWTH = 2 * MIB;
/** The last of the calls. */
const CLOSES = "close the engine";

const calls: Record<string, Call> = {
  grow: async (bed) => {
    await bed.arena.grow(GROWTH);
    bed.grown += GROWTH;
  },
  alloc: async (bed) => void bed.later.push(bed.arena.alloc(CHUNK).fill(7)),
  free: async (bed) => {
    await bed.arena.free(bed.memory);
    bed.later.push(bed.arena.alloc(CHUNK).fill(7));
  },
  discard: ({ arena, memory }) => arena.discard(memory),
  "discard lazily": ({ arena, memory }) => arena.discard(memory, { lazily: true }),
  collapse: ({ arena, memory }) => arena.collapse(memory),
  pageOut: ({ arena, memory }) => arena.pageOut(memory),
  "pageOut of all": ({ arena }) => arena.pageOut(),
  migrate: ({ arena, memory }) => arena.migrate({ node: 0 }, memory),
  "protect for reading": ({ arena, memory }) => arena.protect("read", memory),
  "protect for writing": ({ arena, memory }) => arena.protect("readwrite", memory),
  exclusive: ({ arena, memory }) =>
    arena.exclusive(memory, async (bytes) => {
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      return bytes[0];
    }),
  writeback: ({ arena, memory }) => arena.writeback(memory),
  "writeback of all": ({ arena }) => arena.writeback(),
  close: ({ arena }) => arena.close(),
  read: ({ file, memory }) => file.read(memory, { position: 0 }),
  "buffered read": ({ file, memory }) => file.read(memory.subarray(1, 1000), { position: 1 }),
  write: ({ file, memory }) => file.write(memory, { position: 0 }),
  "read elsewhere": async ({ file }) => {
    const bytes = new Uint8Array(2 * BLOCK_BYTES);
    await file.read(bytes, { position: 32 * BLOCK_BYTES });
    assert.equal(wrongBlocks(bytes.subarray(BLOCK_BYTES), 33), null);
  },
  "close the file": ({ file }) => file.close(),
  "open another": async ({ engine, path }) => (await engine.openFile(path, "r")).close(),
  "another arena": async ({ engine, ofFile, path }) => {
    const other = await engine.arena(ofFile ? { file: path, bytes: 2 * MIB } : { bytes: 2 * MIB });
    assert.equal(other.bytes, 2 * MIB);
    await other.close();
  },
  releasePins: ({ engine }) => engine.releasePins(),
  [CLOSES]: ({ engine }) => engine.close(),
};

/** Codes with which any of these calls may reject, beside any other. */
const CODES = [
  "ERR_PINLESS_CLOSED",
  "ERR_PINLESS_NOT_ALLOCATED",
  // Of a file, or of a machine that can't.
  "ERR_PINLESS_UNSUPPORTED",
  "ERR_PINLESS_NO_SWAP",
  "ERR_PINLESS_NO_HUGE_PAGES",
  // I/O on memory that is closed or read-only, and on a closed file.
  "EFAULT",
  "EBADF",
];

async function together(ground: Ground, engine: PortableEngine, one: string, two: string, ofFile: boolean) {
  const path = await ground.file(new Uint8Array(0));
  const arena = await engine.arena(ofFile ? { file: path, bytes: 2 * MIB } : { bytes: 2 * MIB });
  const beside = arena.alloc(CHUNK).fill(5);
  const memory = arena.alloc(CHUNK).fill(6);
  const file = await engine.openFile(await ground.file(numberedBlocks(BLOCKS)), "r+");
  const bed: Bed = { engine, arena, ofFile, path, file, memory, later: [], grown: 0 };
  const outcomes = await Promise.allSettled([one, two].map((name) => calls[name]!(bed)));
  for (const outcome of outcomes)
    if (outcome.status === "rejected") assert.ok(CODES.includes(outcome.reason?.code), outcome.reason);
  const isClosed = [one, two].some((name) => name === "close" || name === CLOSES);
  if (!isClosed) {
    assert.ok(isFilledWith(beside, 5));
    for (const later of bed.later) assert.ok(isFilledWith(later, 7));
    assert.equal(arena.bytes, 2 * MIB + bed.grown);
    if (ofFile) await checkFile(ground, bed);
  } else assert.ok([beside, memory, ...bed.later].every((view) => isFilledWith(view, 0)));
  await file.close();
  await arena.close();
  assert.equal(engine.notifier.inProgress, 0);
}

/** Each part of the arena is a part of the file of its own. */
async function checkFile(ground: Ground, { arena, path }: Bed): Promise<void> {
  for (let at = MIB; at < arena.bytes; at += MIB) arena.view(at, 1)[0] = at / MIB;
  await arena.writeback();
  const content = await ground.contentOf(path);
  assert.equal(content.length, arena.bytes);
  for (let at = MIB; at < arena.bytes; at += MIB) assert.equal(content[at], at / MIB);
}

/** `groundFor`: another one for each `most` pairs, where there's room for a few arenas only. `leftOut`: calls. */
export function pairs(groundFor: () => Ground, most = Number.POSITIVE_INFINITY, leftOut: readonly string[] = []): void {
  const names = Object.keys(calls).filter((name) => !leftOut.includes(name));
  const { name } = groundFor();
  for (const [i, one] of names.entries())
    for (const ofFile of [false, true])
      test(`${name}: ${one} beside each other call, on ${ofFile ? "an arena of a file" : "an arena"}`, async () => {
        // Beside a call of its own too; in either order. Those that close the engine come last.
        const left = names.slice(i).flatMap((two) =>
          one === two
            ? [[one, two]]
            : [
                [one, two],
                [two, one],
              ],
        );
        while (left.length > 0) {
          const ground = groundFor();
          await withEngine(ground, { depth: 8, lease: { chunk: CHUNK } }, async (engine) => {
            for (let round = 0; round < most && left.length > 0; round++) {
              const [first, second] = left.shift() as [string, string];
              await together(ground, engine, first, second, ofFile).catch((error) => {
                throw new Error(`${first} | ${second}`, { cause: error });
              });
              if (first === CLOSES || second === CLOSES) return;
            }
          });
        }
      });
}
