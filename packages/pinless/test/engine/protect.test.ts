// arena.protect, as the kernel sees it.
import assert from "node:assert/strict";
import { closeSync, constants, openSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import koffi from "koffi";
import { MMAN } from "../../dist/abi/numbers.js";
import { Engine } from "../../dist/index.js";
import { BLOCK_BYTES, isFilledWith, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { addressOf, mappingsOf, protectionOf } from "../support/proc.js";
import { refusing } from "../support/seccomp.js";
import { namedPipe, scratchDirectory } from "../support/undo.js";

const MIB = 1 << 20;
const PAGE = 4096;
const MPROTECT = process.arch === "arm64" ? 226 : 10;

const mprotect = koffi.load(null).func("int mprotect(uintptr_t address, size_t bytes, int protection)");

test("Arena.protect makes just these pages read-only, and the mapping is in one piece again afterwards", async () => {
  const engine = await Engine.open();
  const arena = await engine.arena({ bytes: 2 * MIB });
  const memory = arena.alloc(16 * PAGE);
  const start = addressOf(memory);
  const all = (): string => protectionOf(start, start + memory.byteLength);
  const one = mappingsOf(start, start + 2 * MIB).length;
  await arena.protect("read", memory.subarray(2 * PAGE, 5 * PAGE));
  assert.equal(all(), "wwrrrwwwwwwwwwww");
  await arena.protect("read", memory.subarray(4 * PAGE, 10 * PAGE));
  assert.equal(all(), "wwrrrrrrrrwwwwww");
  await arena.protect("readwrite", memory.subarray(0, 3 * PAGE));
  assert.equal(all(), "wwwrrrrrrrwwwwww");
  await arena.protect("readwrite");
  assert.equal(all(), "w".repeat(16));
  assert.equal(mappingsOf(start, start + 2 * MIB).length, one);
  await arena.protect("read");
  assert.equal(all(), "r".repeat(16));
  await arena.free(memory);
  assert.equal(all(), "w".repeat(16));
  assert.equal(protectionOf(start + 16 * PAGE, start + 2 * MIB), "r".repeat(512 - 16));
  await arena.close();
  assert.equal(protectionOf(start, start + 2 * MIB), "w".repeat(512));
  assert.equal(mappingsOf(start, start + 2 * MIB).length, one);
  await engine.close();
});

test("a store into read-only memory ends the process by SIGSEGV, a load doesn't", async () => {
  for (const free of [false, true]) {
    const { code, signal, stdout, stderr } = await runModule(
      `
      import { writeSync } from "node:fs";
      import { Engine } from PINLESS;
      const engine = await Engine.open();
      const arena = await engine.arena({ bytes: 2 << 20 });
      const buffer = arena.alloc(4096).fill(7);
      await arena.protect("read", buffer);
      writeSync(1, "loaded " + buffer[5]);
      if (${free}) await arena.free(buffer);
      buffer[5] = 8;
      writeSync(1, " stored");
      await engine.close();
      `,
      { wrapper: ["prlimit", "--core=0"] },
    );
    if (free) assert.deepEqual([code, signal, stdout], [0, null, "loaded 7 stored"], stderr);
    else assert.deepEqual([code, signal, stdout], [null, "SIGSEGV", "loaded 7"], stderr);
  }
});

test("a device writes read-only memory by a lifetime registration (control), and doesn't after protect", async (t) => {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(4));
  const engine = await Engine.open({ scheme: "io_uring", pin: "lifetime" });
  try {
    const arena = await engine.arena({ bytes: 2 * MIB });
    const file = await engine.openFile(name);
    const [harmed, spared] = [arena.alloc(PAGE).fill(9), arena.alloc(PAGE).fill(9)];
    // Behind the engine's back.
    assert.equal(mprotect(addressOf(harmed), PAGE, MMAN.PROT_READ), 0);
    await file.read(harmed, { position: BLOCK_BYTES });
    assert.equal(wrongBlocks(harmed, 1), null, "the device didn't write it: this has shown nothing");
    for (const whole of [false, true]) {
      await arena.protect("read", whole ? undefined : spared);
      await assert.rejects(file.read(spared, { position: BLOCK_BYTES }), { code: "EFAULT" });
      assert.ok(isFilledWith(spared, 9));
    }
  } finally {
    await engine.close();
  }
});

/** An arena of 16 pages, all of it `memory`, in a child where mprotect of so many pages is refused with ENOMEM. */
async function refusedIn(protection: number, pages: number, body: string): Promise<unknown> {
  const refusal = { call: MPROTECT, arguments: { 1: pages * PAGE, 2: protection } };
  const { code, signal, stdout, stderr } = await runModule(`
    ${refusing(12, refusal)}
    import { readFileSync } from "node:fs";
    import { Engine } from PINLESS;
    const engine = await Engine.open();
    const arena = await engine.arena({ bytes: 2 << 20 });
    const said = [];
    const say = ({ code, syscall }) => said.push([code, syscall]);
    const file = await engine.openFile("/proc/self/exe");
    const part = (view, first, count) => view.subarray(first * 4096, (first + count) * 4096);
    const read = (view) => file.read(view, { position: 0 }).then(() => "read", ({ code }) => code);
    ${body}
    await engine.close();
    console.log(JSON.stringify(said));
  `);
  assert.deepEqual([code, signal], [0, null], stderr);
  return JSON.parse(stdout);
}

test("Arena.protect that the kernel refuses in the middle rejects, and the changed pages are known", async () => {
  const said = await refusedIn(
    MMAN.PROT_READ,
    3,
    `
    const memory = arena.alloc(16 * 4096);
    await arena.protect("read", part(memory, 4, 1));
    // Four pages, one that is read-only already, and three.
    await arena.protect("read", part(memory, 0, 8)).catch(say);
    for (const page of [0, 3, 4, 5, 7]) said.push(await read(part(memory, page, 1)));
    part(memory, 5, 11).fill(1);
    await arena.protect("readwrite");
    memory.fill(2);
    said.push(await read(part(memory, 0, 1)));
    `,
  );
  assert.deepEqual(said, [["ENOMEM", "mprotect"], "EFAULT", "EFAULT", "EFAULT", "read", "read", "read"]);
});

test("Arena.free that can't make memory writable again rejects, and the buffer stays allocated", async () => {
  const said = await refusedIn(
    MMAN.PROT_READ | MMAN.PROT_WRITE,
    5,
    `
    const buffer = arena.alloc(5 * 4096);
    await arena.protect("read", buffer);
    await arena.free(buffer).catch(say);
    await arena.free(buffer).catch(say);
    said.push(arena.alloc(4096).byteOffset === buffer.byteOffset + 5 * 4096);
    await arena.protect("readwrite", part(buffer, 0, 2));
    await arena.free(buffer);
    arena.alloc(5 * 4096).fill(1);
    `,
  );
  assert.deepEqual(said, [["ENOMEM", "mprotect"], ["ENOMEM", "mprotect"], true]);
});

test("a pipe's read into read-only memory fails with EFAULT, and the next read gets its bytes", async (t) => {
  const pipe = namedPipe(t);
  const other = openSync(pipe, constants.O_RDWR);
  for (const scheme of ["io_uring", "aio"] as const) {
    const engine = await Engine.open({ scheme });
    try {
      const file = await engine.openFile(pipe, "r");
      const buffer = (await engine.arena({ bytes: 2 * MIB })).alloc(PAGE);
      writeSync(other, "text");
      assert.equal((await file.read(buffer, 0, 1)).bytesRead, 1);
      const arena = await engine.arena({ bytes: 2 * MIB });
      const refused = arena.alloc(PAGE);
      await arena.protect("read", refused);
      await assert.rejects(file.read(refused), { code: "EFAULT" });
      writeSync(other, "!");
      assert.equal((await file.read(buffer)).bytesRead, 4);
      assert.equal(Buffer.from(buffer.subarray(0, 4)).toString(), "ext!");
    } finally {
      await engine.close();
    }
  }
  closeSync(other);
});
