/**
 * Every memory operation after every other, alone and beside reads: it's done, or its error says why not; and
 * no other bytes change.
 */

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Arena } from "../../dist/engine/arena.js";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { OperationReport } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { BLOCKS, CHUNK, MIB } from "./bed.js";
import { type Ground, withEngine } from "./ground.js";

const PAGE = 4096;
const HUGE = 2 * MIB;

/** Contents that a page may have: its number, zeros, or either. */
type Content = "number" | "zeros" | "either";

interface Operation {
  readonly run: (arena: Arena, memory: Uint8Array) => Promise<OperationReport>;
  /** Contents of anonymous memory after the operation: of all of it, or of the first chunk. */
  readonly empties?: { readonly content: Content; readonly bytes: number };
}

const some = (memory: Uint8Array): Uint8Array => memory.subarray(0, CHUNK);
const operations: Record<string, Operation> = {
  discard: { run: (arena, memory) => arena.discard(memory), empties: { content: "zeros", bytes: HUGE } },
  "discard a part": {
    run: (arena, memory) => arena.discard(some(memory)),
    empties: { content: "zeros", bytes: CHUNK },
  },
  "discard lazily": {
    run: (arena, memory) => arena.discard(memory, { lazily: true }),
    empties: { content: "either", bytes: HUGE },
  },
  collapse: { run: (arena, memory) => arena.collapse(memory) },
  pageOut: { run: (arena, memory) => arena.pageOut(memory) },
  "pageOut a part": { run: (arena, memory) => arena.pageOut(some(memory)) },
  migrate: { run: (arena, memory) => arena.migrate({ node: 0 }, memory) },
  "protect a part": { run: (arena, memory) => arena.protect("read", some(memory)) },
  protect: { run: (arena, memory) => arena.protect("read", memory) },
  unprotect: { run: (arena, memory) => arena.protect("readwrite", memory) },
  exclusive: { run: (arena, memory) => arena.exclusive(memory, (bytes) => bytes[0]) },
  writeback: { run: (arena, memory) => arena.writeback(memory) },
};

/** Codes of operations that a file, or this machine, doesn't support. */
const REFUSED = ["ERR_PINLESS_UNSUPPORTED", "ERR_PINLESS_NO_SWAP", "ERR_PINLESS_NO_HUGE_PAGES"];

interface Kind {
  readonly name: string;
  readonly ofFile: boolean;
  make(engine: PortableEngine, path: string): Promise<Arena>;
}

const anonymous = (name: string, options: { hugePages?: boolean; inherit?: boolean }): Kind => ({
  name,
  ofFile: false,
  make: (engine) => engine.arena({ bytes: 2 * HUGE, ...options }),
});
const kinds: readonly Kind[] = [
  anonymous("huge pages", {}),
  anonymous("pages of 4 KiB", { hugePages: false }),
  anonymous("memory that children inherit", { inherit: true }),
  { name: "a mapped file", ofFile: true, make: (engine, file) => engine.arena({ file, bytes: 2 * HUGE }) },
];

/** Null: refused, as a whole. */
async function perform({ run }: Operation, arena: Arena, memory: Uint8Array): Promise<OperationReport | null> {
  try {
    const report = await run(arena, memory);
    const { pages, done, busy, reason, skipped } = report;
    assert.equal(done + busy, skipped === undefined ? pages : 0);
    assert.equal(typeof reason === "string" && reason.length > 10, busy > 0, `busy ${busy}, reason ${reason}`);
    return report;
  } catch (error) {
    const { code } = error as { code?: string };
    if (!REFUSED.includes(code!)) throw error;
    return null;
  }
}

/** Another one each round: the model notices no store of what was there. */
function numberOf(page: number, round: number): number {
  return 1 + ((page + round) % 250);
}

function check(memory: Uint8Array, contents: readonly Content[], round: number): void {
  for (const [i, content] of contents.entries()) {
    const page = memory.subarray(i * PAGE, (i + 1) * PAGE);
    const number = numberOf(i, round);
    const isRight =
      content === "zeros"
        ? isFilledWith(page, 0)
        : isFilledWith(page, number) || (content === "either" && isFilledWith(page, 0));
    assert.ok(isRight, `page ${i}, which should hold ${content}, holds ${page[0]}`);
  }
}

/** `prepare`: what a test needs of the machine. */
export function sequences(ground: Ground, prepare: (t: TestContext) => void = () => {}): void {
  for (const { name, ofFile, make } of kinds)
    for (const busy of [false, true])
      test(`${ground.name}: every operation after every other on ${name}${busy ? ", beside reads" : ""}`, async (t) => {
        prepare(t);
        const path = await ground.file(new Uint8Array(0));
        const source = await ground.file(numberedBlocks(BLOCKS));
        await withEngine(ground, { depth: 8, lease: { chunk: CHUNK } }, async (engine) => {
          const arena = await make(engine, path);
          const area = arena.alloc(HUGE);
          // What is read into belongs to another huge page: what is done there doesn't have to wait, and what is done
          // to all has.
          const beside = arena.alloc(CHUNK);
          const file = await engine.openFile(source, "r");
          let running = busy;
          const reads = (async () => {
            for (let i = 0; running; i = (i + 1) % BLOCKS) {
              const block = (i % 2 === 0 ? beside : area.subarray(HUGE - CHUNK)).subarray(0, BLOCK_BYTES);
              await file.read(block, { position: i * BLOCK_BYTES }).catch((error) => {
                if (error.code !== "EFAULT") throw error;
              });
              if (block.buffer === beside.buffer && i % 2 === 0) assert.equal(wrongBlocks(block, i), null);
            }
          })();
          // The reads' part has no numbers.
          const memory = busy ? area.subarray(0, HUGE - CHUNK) : area;
          let round = 0;
          for (const [first, one] of Object.entries(operations))
            for (const [second, two] of Object.entries(operations)) {
              const pages = memory.byteLength / PAGE;
              round++;
              for (let i = 0; i < pages; i++) memory.fill(numberOf(i, round), i * PAGE, (i + 1) * PAGE);
              const contents = new Array<Content>(pages).fill("number");
              try {
                for (const operation of [one, two]) {
                  const report = await perform(operation, arena, memory);
                  const { empties } = operation;
                  if (report === null || ofFile || empties === undefined) continue;
                  for (let i = 0; i < Math.min(empties.bytes, memory.byteLength) / PAGE; i++)
                    if (contents[i] !== "zeros") contents[i] = empties.content;
                }
                check(memory, contents, round);
                await arena.protect("readwrite", memory);
                // Whatever came before: where all can be written, all of it can become huge.
                if (!ofFile && ground.pin !== "lifetime" && ground.around.noHugePages === false && !busy)
                  assert.equal((await perform(operations.collapse!, arena, memory))?.busy, 0);
                check(memory, contents, round);
              } catch (error) {
                running = false;
                throw new Error(`${first}, then ${second}`, { cause: error });
              }
            }
          running = false;
          await reads;
        });
      });
}
