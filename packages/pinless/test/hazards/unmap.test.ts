// Other code of the process unmaps memory of an arena, moves it away or maps its own over it. That's known only
// afterwards: from then on nothing of ours touches those addresses. In children: without the monitor such a process may
// well crash.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { BLOCK_BYTES, numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { scratchDirectory } from "../support/undo.js";
import { buildLibrary, DECLARATIONS, needsCompiler } from "./native.js";

const MIB = 1 << 20;
const VALUE = 0x77;

/** Reads into an arena, changes the mapping of a part of it, and says what came of I/O there and beside it. */
const SOURCE = `
  import { Engine } from PINLESS;
  import koffi from "koffi";
  const [file, library, ...rest] = process.argv.slice(1);
  const [options, declaration, at, bytes] = rest.map((text) => JSON.parse(text));
  const lib = koffi.load(library);
  const change = lib.func(declaration);
  const countOf = lib.func(${JSON.stringify(DECLARATIONS.countOf)});
  const engine = await Engine.open({ depth: 32, lease: { idle: 3_600_000, max: 3_600_000 }, ...options });
  let arena = await engine.arena({ bytes: ${4 * MIB} });
  let memory = arena.alloc(${4 * MIB});
  const source = await engine.openFile(file, "r+");
  const address = Number(koffi.address(new Uint8Array(memory.buffer))) + memory.byteOffset;
  const outcome = (promise) =>
    promise.then(({ bytesRead, bytesWritten }) => bytesRead ?? bytesWritten, ({ code }) => code);
  const block = (at) => memory.subarray(at, at + ${BLOCK_BYTES});
  const read = (at, position = 0) => outcome(source.read(block(at), { position }));
  for (let i = 0; i < 3; i++) for (let chunk = 0; chunk < ${4 * MIB}; chunk += ${2 * MIB}) await read(chunk);
  // Some are on their way.
  const flying = [0, 1, 2, 3].map((i) => read(at + i * ${BLOCK_BYTES}, i * ${BLOCK_BYTES}));
  // Other schemes pass addresses, which the kernel may look up only after the memory has another owner.
  if (engine.scheme !== "io_uring") await Promise.all(flying);
  const error = change(address + at, bytes, ${VALUE});
  if (error !== 0) throw new Error("errno " + error);
  // Before the engine can know anything of it.
  const [early, discarded] = await Promise.all([
    read(at),
    options.events === undefined ? arena.discard(block(at)) : { pages: 0 },
  ]);
  const said = { early, discarded: discarded.pages, flying: await Promise.all(flying) };
  // The engine hears of it a moment later.
  for (const begin = Date.now(); options.events === undefined && (await read(at)) !== "EFAULT"; )
    if (Date.now() - begin > 60_000) throw new Error("the engine never heard of the unmap");
  said.inside = await read(at);
  said.across = await outcome(source.read(memory.subarray(at - ${BLOCK_BYTES}, at + ${BLOCK_BYTES}), { position: 0 }));
  said.unaligned = await outcome(source.read(memory.subarray(at + 1, at + 101), { position: 3 }));
  said.write = await outcome(source.write(block(at), { position: ${BLOCK_BYTES} }));
  said.before = [];
  for (let i = 0; i < 3; i++) {
    memory.fill(0, 0, ${BLOCK_BYTES});
    said.before.push(await read(0));
  }
  said.whole = memory[1] !== 0 || memory[0] !== 0;
  said.live = engine.stats().leases.live;
  if (options.events === undefined) {
    await arena.free(memory);
    // What can still be had has nothing of what's gone.
    const others = [];
    for (;;) {
      try {
        others.push(arena.alloc(65536));
      } catch (error) {
        if (!error.code.endsWith("_ARENA_FULL")) throw error;
        break;
      }
    }
    const begin = memory.byteOffset + at;
    said.clear = others.every(({ byteOffset }) => byteOffset + 65536 <= begin || byteOffset >= begin + bytes);
    said.others = others.length;
    said.discard = (await arena.discard()).pages;
    await arena.close();
    await engine.close();
    // V8 would unmap the addresses once no view of the memory is left.
    arena = memory = null;
    others.length = 0;
    for (let i = 0; i < 5; i++) {
      globalThis.gc();
      await new Promise(setImmediate);
    }
  }
  if (declaration.includes("int value")) said.theirs = countOf(address + at, bytes, ${VALUE});
  console.log(JSON.stringify(said));
  process.exit(0);
`;

interface Said {
  readonly early: unknown;
  /** Pages that a discard was about which the program asked for before the engine could know. */
  readonly discarded: number;
  readonly flying: unknown[];
  readonly inside: unknown;
  readonly across: unknown;
  readonly unaligned: unknown;
  readonly write: unknown;
  readonly before: unknown[];
  readonly whole: boolean;
  readonly live: number;
  readonly clear: boolean;
  readonly others: number;
  readonly discard: number;
  readonly theirs?: number;
}

const AT = MIB;

async function run(t: TestContext, options: object, how: string, bytes: number): Promise<Said> {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(16));
  const args = [file, buildLibrary(t), ...[options, how, AT, bytes].map((value) => JSON.stringify(value))];
  const { code, signal, stdout, stderr } = await runModule(SOURCE, { args, node: ["--expose-gc"] });
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

for (const [name, how] of [
  ["munmap, then mmap in its place", DECLARATIONS.takeOver],
  ["mmap(MAP_FIXED) over it", DECLARATIONS.mapOver],
  ["mremap away", DECLARATIONS.moveAway],
] as const) {
  for (const options of [{}, { scheme: "aio" }, { scheme: "direct" }]) {
    for (const bytes of [64 * 1024, 3 * MIB]) {
      const scheme = (options as { scheme?: string }).scheme ?? "io_uring";
      test(`${name}, ${bytes / 1024} KiB, ${scheme}: EFAULT there, I/O beside it, new memory unchanged`, {
        skip: needsCompiler,
      }, async (t) => {
        const said = await run(t, options, how, bytes);
        const { inside, across, unaligned, write } = said;
        assert.deepEqual(
          { inside, across, unaligned, write },
          {
            inside: "EFAULT",
            across: "EFAULT",
            unaligned: "EFAULT",
            write: "EFAULT",
          },
        );
        assert.ok(
          [said.early, ...said.flying].every((is) => is === "EFAULT" || is === BLOCK_BYTES),
          JSON.stringify(said),
        );
        assert.equal(said.discarded, 0, "memory with another owner was discarded");
        assert.deepEqual([said.before, said.whole], [[BLOCK_BYTES, BLOCK_BYTES, BLOCK_BYTES], true]);
        // What's left of such a chunk takes no lease any more.
        if (scheme === "io_uring") assert.equal(said.live, bytes === 64 * 1024 ? 1 : 0);
        assert.equal(said.clear, true);
        assert.equal(said.others, (4 * MIB - bytes) / 65536);
        assert.equal(said.discard, (4 * MIB - bytes) / BLOCK_BYTES);
        if (said.theirs !== undefined) assert.equal(said.theirs, bytes, JSON.stringify(said));
      });
    }
  }
}

test("munmap, then mmap, not followed: reads by a lease don't arrive, others land in the new memory (control)", {
  skip: needsCompiler,
}, async (t) => {
  const unfollowed = { events: { userfaultfd: false } };
  const leased = await run(t, unfollowed, DECLARATIONS.takeOver, 64 * 1024);
  assert.deepEqual([leased.early, leased.inside], [BLOCK_BYTES, BLOCK_BYTES]);
  const perIo = await run(t, { ...unfollowed, pin: "per-io" }, DECLARATIONS.takeOver, 64 * 1024);
  assert.ok(perIo.theirs! < 64 * 1024, "nothing of theirs was written to");
});
