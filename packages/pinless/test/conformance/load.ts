/** A scheme under full load, and what has to go on beside it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { File, Invalidation, MmuEvent } from "../../dist/index.js";
import { BLOCK_BYTES, numberedBlocks, wrongBlocks } from "../support/blocks.js";
import { Random } from "../support/random.js";
import { type Ground, withEngine } from "./ground.js";

const MIB = 1 << 20;
const BLOCKS = 256;
const EFAULT = -14;
const EBADF = -9;

/** Requests that 40 turns of the loop can't take: a turn delivers at most 256. */
const FAR_TOO_MANY = 5_000_000;

/** Events after which memory is as it was before. */
const PASSING: readonly MmuEvent[] = ["CLEAR", "MIGRATE", "PROTECTION_PAGE", "SOFT_DIRTY", "EXCLUSIVE"];

function submitted(file: File, op: "read" | "write", buffer: Uint8Array, position: number): Promise<[number, number]> {
  return new Promise((resolve) => {
    assert.equal(
      file.submit(op, buffer, position, (errno, bytes) => resolve([errno, bytes])),
      "queued",
    );
  });
}

function begun(engine: PortableEngine, range: { start: number; end: number }, event: MmuEvent): Promise<Invalidation> {
  return new Promise((resolve) => {
    const ready = (): void => queueMicrotask(() => resolve(invalidation));
    const invalidation = engine.notifier.invalidateRangeStart(range, event, { ready });
  });
}

export function load(ground: Ground): void {
  const named = (name: string): string => `${ground.name}: ${name}`;
  const withFile = async (
    depth: number,
    body: (engine: PortableEngine, file: File) => Promise<void>,
  ): Promise<void> => {
    const path = await ground.file(numberedBlocks(BLOCKS));
    await withEngine(ground, { depth, lease: { chunk: 65536 } }, async (engine) =>
      body(engine, await engine.openFile(path, "r+")),
    );
  };

  test(named("timers and turns of the loop go on beside requests that begin anew as soon as they end"), () =>
    withFile(32, async (engine, file) => {
      const arena = await engine.arena({ bytes: 2 * MIB });
      let running = true;
      let flying = 0;
      let ended = 0;
      let last = (): void => {};
      const over = new Promise<void>((resolve) => {
        last = resolve;
      });
      const submit = (buffer: ArrayBufferView): void => {
        if (file.submit("read", buffer, (ended % BLOCKS) * BLOCK_BYTES, done) === "queued") flying++;
      };
      const done = (errno: number, _bytes: number, buffer: ArrayBufferView): void => {
        assert.equal(errno, 0);
        ended++;
        flying--;
        if (running && ended < FAR_TOO_MANY) submit(buffer);
        else if (flying === 0) last();
      };
      for (let i = 0; i < 32; i++) submit(arena.alloc(BLOCK_BYTES));
      // On a busy machine threads may be slow to begin.
      while (ended === 0) await new Promise((resolve) => setImmediate(resolve));
      // Without a limit for a turn these would never come.
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 1));
      for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
      assert.ok(ended < FAR_TOO_MANY, `${ended} requests had their turn before 20 timers and 20 turns of the loop`);
      running = false;
      await over;
      assert.equal(engine.stats().completed, ended);
    }),
  );

  test(named("File.submit of what reaches beyond the file's end is short, by exactly that"), async () => {
    const content = new Random(3).bytes(5 * BLOCK_BYTES + 1234);
    const path = await ground.file(content);
    await withEngine(ground, { depth: 4 }, async (engine) => {
      const file = await engine.openFile(path, "r");
      const buffer = (await engine.arena({ bytes: 2 * MIB })).alloc(4 * BLOCK_BYTES);
      for (let block = 0; block < 8; block++) {
        const position = block * BLOCK_BYTES;
        const expected = Math.max(0, Math.min(buffer.byteLength, content.length - position));
        assert.deepEqual(await submitted(file, "read", buffer, position), [0, expected], `block ${block}`);
        assert.ok(Buffer.from(content.subarray(position, position + expected)).equals(buffer.subarray(0, expected)));
      }
    });
  });

  test(
    named("a file that was opened for the other direction fails with EBADF, whatever way a request takes"),
    async () => {
      const path = await ground.file(numberedBlocks(4));
      await withEngine(ground, { depth: 4 }, async (engine) => {
        const buffer = (await engine.arena({ bytes: 2 * MIB })).alloc(BLOCK_BYTES);
        for (const [flags, op] of [
          ["r", "write"],
          ["a", "read"],
        ] as const) {
          const file = await engine.openFile(path, flags);
          // Straight, unaligned, and copied.
          for (const memory of [buffer, buffer.subarray(1, 100), new Uint8Array(BLOCK_BYTES)]) {
            assert.deepEqual(await submitted(file, op, memory, 0), [EBADF, 0]);
            const call = op === "write" ? file.write(memory, { position: 0 }) : file.read(memory, { position: 0 });
            await assert.rejects(call, { code: "EBADF", errno: EBADF, syscall: op });
          }
        }
        assert.equal(wrongBlocks(await ground.contentOf(path), 0), null);
      });
    },
  );

  test(named("an abort in the middle of readFile and writeFile leaves nothing in flight"), () =>
    withFile(4, async (engine, file) => {
      for (let round = 0; round < 10; round++) {
        const controller = new AbortController();
        const { signal } = controller;
        const call =
          round % 2 === 0
            ? file.readFile({ signal })
            : file.writeFile(
                (function* () {
                  for (;;) yield new Uint8Array(BLOCK_BYTES);
                })(),
                { signal },
              );
        const outcome = call.then(
          () => "ended",
          (error: Error) => error.name,
        );
        for (let turn = 0; turn < round >> 1; turn++) await new Promise((resolve) => setImmediate(resolve));
        controller.abort();
        // Reads may have ended by then.
        const names = round % 2 === 0 ? ["AbortError", "ended"] : ["AbortError"];
        assert.ok(names.includes(await outcome), await outcome);
        const { submitted, completed, failed } = engine.stats();
        assert.equal(completed + failed, submitted, "it rejected with a request in flight");
      }
    }),
  );

  test(
    named("invalidations of every event in the middle of 32 reads and writes: no wrong byte, nothing left behind"),
    () =>
      withFile(32, async (engine, file) => {
        const arena = await engine.arena({ bytes: 4 * MIB });
        const lanes = Array.from({ length: 32 }, () => arena.alloc(65536));
        let running = true;
        let requests = 0;
        const lane = async (buffer: Uint8Array, id: number): Promise<void> => {
          const random = new Random(id);
          while (running) {
            const blocks = 1 + random.below(8);
            const first = random.below(BLOCKS - blocks);
            const part = buffer.subarray(0, blocks * BLOCK_BYTES);
            part.fill(0);
            await file.read(part, { position: first * BLOCK_BYTES });
            assert.equal(wrongBlocks(part, first), null);
            // What it holds already: others read it meanwhile.
            if (id % 2 === 0) await file.write(part, { position: first * BLOCK_BYTES });
            requests++;
          }
        };
        const lanesEnded = Promise.all(lanes.map(lane));
        const random = new Random(77);
        try {
          for (let round = 0; round < 400; round++) {
            const before = requests;
            const start = ground.addressOf(lanes[random.below(lanes.length)]!);
            // Often more than one lane.
            const range = { start, end: start + 4096 * (1 + random.below(64)) };
            const invalidation = await begun(engine, range, PASSING[round % PASSING.length]!);
            if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
            engine.notifier.invalidateRangeEnd(invalidation);
            if (round % 50 === 0) while (requests === before) await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          running = false;
          await lanesEnded;
        }
        assert.equal(engine.notifier.inProgress, 0);
        assert.ok(engine.stats().held > 0, "no request met an invalidation");
        // Those that leave the memory unusable come last.
        for (const [i, event] of (["PROTECTION_VMA", "UNMAP", "RELEASE"] as const).entries()) {
          const buffer = lanes[i]!.subarray(0, BLOCK_BYTES);
          const start = ground.addressOf(buffer);
          const flying = Array.from({ length: 8 }, () => submitted(file, "read", buffer, 0));
          const invalidation = await begun(engine, { start, end: start + 65536 }, event);
          assert.deepEqual(await Promise.all(flying), new Array(8).fill([0, BLOCK_BYTES]), event);
          engine.notifier.invalidateRangeEnd(invalidation);
          assert.deepEqual(await submitted(file, "read", buffer, 0), [EFAULT, 0], event);
        }
      }),
  );
}
