// The monitor itself: its end loses no I/O, and where it can't work, stats().degraded says so and I/O goes on.
import assert from "node:assert/strict";
import { test } from "node:test";
import { aioSyscalls, SYSCALLS, userfaultfdSyscall } from "../../dist/abi/numbers.js";
import { BLOCK_BYTES } from "../support/blocks.js";
import { refusing } from "../support/seccomp.js";
import { BED, runMonitored as run, SEES_WORKERS } from "./monitored.js";
import { BEGUN, DONE, ENDED, needsCompiler } from "./native.js";

const MIB = 1 << 20;

for (const options of [{}, { scheme: "aio" }]) {
  test(`The monitor ends while a native thread discards: nothing hangs, I/O goes on, ${JSON.stringify(options)}`, {
    skip: needsCompiler,
  }, async (t) => {
    for (let round = 0; round < 3; round++) {
      const { degraded, reads, all } = await run(
        t,
        `${SEES_WORKERS} globalThis.options = ${JSON.stringify(options)}; ${BED}
        let reads = 0;
        let goOn = true;
        const readers = Array.from({ length: 16 }, async (_, place) => {
          for (; goOn; reads++) await read(place, reads % 16);
        });
        start(address, memory.byteLength, 1000, 200, 0, wordsAt);
        await within("discards", () => Atomics.load(words, ${BEGUN}) > 50 + ${round});
        await workers.find(({ name }) => name === "pinless-monitor").worker.terminate();
        await within("the end of the storm", () => Atomics.load(words, ${DONE}) === 1);
        const at = reads;
        await within("reads", () => reads > at + 100);
        goOn = false;
        await Promise.all(readers);
        // Its own memory operations, and another engine, after the last one has given the monitor back.
        await arena.discard();
        await arena.collapse();
        const { degraded } = engine.stats();
        await engine.close();
        const another = await Engine.open();
        await another.arena({ bytes: ${MIB} });
        await another.close();
        console.log(JSON.stringify({ degraded, reads, all: workers.map(({ name }) => name) }));
        process.exit(0);`,
      );
      assert.ok(Number(reads) > 100);
      assert.match((degraded as string[]).join("\n"), /monitor thread ended and was started again/);
      assert.equal((all as string[]).filter((name) => name === "pinless-monitor").length, 3);
    }
  });
}

// Leases are kept for so long that none goes by the clock.
for (const options of [{ lease: { idle: 5000, max: 20_000 } }, { scheme: "aio" }]) {
  test(`The monitor is terminated during a discard: reads after it find the new pages, ${JSON.stringify(options)}`, {
    skip: needsCompiler,
  }, async (t) => {
    const { wrong, went } = await run(
      t,
      `${SEES_WORKERS} globalThis.options = ${JSON.stringify(options)}; ${BED}
      const { readFileSync } = await import("node:fs");
      const content = new Uint32Array(new Uint8Array(readFileSync(file)).buffer);
      // All of the memory by leases, and some reads more that are in flight.
      for (let i = 0; i < 3; i++) await Promise.all(Array.from({ length: 16 }, (_, place) => read(place, place)));
      const flying = Array.from({ length: 8 }, (_, place) => read(place, place));
      let ended = false;
      workers.find(({ name }) => name === "pinless-monitor").worker.on("exit", () => void (ended = true));
      start(address, memory.byteLength, 1, 0, 0, wordsAt);
      while (Atomics.load(words, ${BEGUN}) === 0);
      // This thread is busy: the monitor waits some milliseconds for it before it reads.
      for (const begin = performance.now(); performance.now() - begin < 1; );
      const went = Atomics.load(words, ${ENDED});
      const end = workers.find(({ name }) => name === "pinless-monitor").worker.terminate();
      while (Atomics.load(words, ${ENDED}) === 0);
      // The discard has ended, so each of these has to be found, whenever this thread hears of the monitor's end.
      const wrong = [];
      for (let round = 0; round < 20 || !ended; round++) {
        const blocks = await Promise.all(Array.from({ length: 16 }, (_, i) => read(i + 16, (i + round) % 16)));
        for (const [i, found] of blocks.entries())
          if (found !== content[((i + round) % 16) * ${BLOCK_BYTES / 4}]) wrong.push([round, i, found]);
      }
      await Promise.all(flying);
      await end;
      await engine.close();
      console.log(JSON.stringify({ wrong, went }));
      process.exit(0);`,
    );
    t.diagnostic(went === 0 ? "it waited" : "it had gone on");
    assert.deepEqual(wrong, []);
  });
}

test("Workers with engines end while a native thread discards their memory: no thread hangs", {
  skip: needsCompiler,
}, async (t) => {
  const { rounds } = await run(
    t,
    `import { Worker } from "node:worker_threads";
    import koffi from "koffi";
    ${BED}
    const SOURCE = ${JSON.stringify(`
      const { parentPort, workerData } = require("node:worker_threads");
      const koffi = require("koffi");
      (async () => {
        const { Engine } = await import(workerData.pinless);
        const engine = await Engine.open({ depth: 8 });
        const arena = await engine.arena({ bytes: 2 << 20 });
        const memory = arena.alloc(2 << 20);
        const file = await engine.openFile(workerData.file);
        const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");
        const address = Number(koffi.address(new Uint8Array(memory.buffer))) + memory.byteOffset;
        for (let done = 0; ; done++) {
          const page = (i) => memory.subarray(i * 4096, i * 4096 + 4096);
          await Promise.all([0, 1, 2].map((i) => file.read(page(i), { position: 0 })));
          madvise(address, memory.byteLength, 4);
          if (done === 20) parentPort.postMessage("going");
        }
      })();
    `)};
    let rounds = 0;
    for (; rounds < 20; rounds++) {
      const worker = new Worker(SOURCE, { eval: true, execArgv: [], workerData: { pinless: PINLESS, file } });
      await new Promise((resolve) => worker.once("message", resolve));
      await worker.terminate();
    }
    // The main thread's own goes on.
    start(address, memory.byteLength, 100, 100, 0, wordsAt);
    await within("the end of the storm", async () => (await read(0, 0), Atomics.load(words, ${DONE}) === 1));
    console.log(JSON.stringify({ rounds }));
    process.exit(0);`,
  );
  assert.equal(rounds, 20);
});

for (const how of ["process.exit(0)", "natural"]) {
  test(`A process ends in the middle of discards and reads, ${how}`, { skip: needsCompiler }, async (t) => {
    for (let round = 0; round < 5; round++) {
      const { going } = await run(
        t,
        `import { Worker } from "node:worker_threads"; import koffi from "koffi"; ${BED}
        // A worker, since a native thread would go on while the memory that it uses goes.
        const STORM = ${JSON.stringify(`
          const koffi = require("koffi");
          const { workerData: { address, bytes, words } } = require("node:worker_threads");
          const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");
          for (;;) {
            madvise(address, bytes, 4);
            Atomics.add(words, ${BEGUN}, 1);
          }
        `)};
        let goOn = true;
        for (let place = 0; place < 16; place++) void (async () => { while (goOn) await read(place, 0); })();
        const workerData = { address, bytes: memory.byteLength, words };
        const storm = new Worker(STORM, { eval: true, execArgv: [], workerData });
        storm.unref();
        await within("discards", () => Atomics.load(words, ${BEGUN}) > 20);
        console.log('{"going":true}');
        ${how === "natural" ? "goOn = false;" : `${how};`}`,
      );
      assert.equal(going, true);
    }
  });
}

for (const [name, calls] of [
  ["io_uring", [SYSCALLS.__NR_io_uring_setup]],
  ["io_uring and Linux AIO", [SYSCALLS.__NR_io_uring_setup, aioSyscalls(process.arch).__NR_io_setup]],
] as const) {
  test(`Where a filter forbids ${name}, discards by a native thread are followed all the same`, {
    skip: needsCompiler,
  }, async (t) => {
    const { clear, degraded } = await run(
      t,
      `${refusing(38, ...calls)} ${BED}
      let storms = 0;
      const clear = () => engine.stats().invalidations.CLEAR;
      // Those that come while this thread has no processor aren't drained for, but announced.
      await within("discards that were drained for, and the end of the storm", async () => {
        if (Atomics.load(words, ${DONE}) < storms) return void (await read(0, 0));
        if (clear() > 20) return true;
        start(address, memory.byteLength, 50, 2000, 0, wordsAt);
        storms++;
      });
      console.log(JSON.stringify({ clear: clear(), degraded: engine.stats().degraded }));
      await engine.close();
      process.exit(0);`,
    );
    assert.ok(Number(clear) > 20);
    assert.doesNotMatch((degraded as string[]).join("\n"), /followed/);
  });
}

test("The monitor is terminated at rest, where a filter forbids io_uring: later discards don't hang", {
  skip: needsCompiler,
}, async (t) => {
  const { went } = await run(
    t,
    `${refusing(38, SYSCALLS.__NR_io_uring_setup)} ${SEES_WORKERS.replace('import koffi from "koffi";', "")} ${BED}
    await read(0, 0);
    await workers.find(({ name }) => name === "pinless-monitor").worker.terminate();
    console.log(JSON.stringify({ went: madvise(address, memory.byteLength, 4) }));
    process.exit(0);`,
  );
  assert.equal(went, 0);
});

test("Where a filter forbids userfaultfd, the engine says so and works", { skip: needsCompiler }, async (t) => {
  for (const [errno, reason] of [
    [1, /aren't followed: userfaultfd is forbidden here, by a seccomp filter/],
    [38, /aren't followed: this kernel has no userfaultfd, or a seccomp filter hides it/],
  ] as const) {
    const { degraded, scheme } = await run(
      t,
      `${refusing(errno, userfaultfdSyscall(process.arch))} ${BED}
      for (let i = 0; i < 5; i++) await read(0, i);
      await arena.discard();
      const { degraded, scheme } = engine.stats();
      await engine.close();
      console.log(JSON.stringify({ degraded, scheme }));`,
    );
    assert.equal(scheme, "io_uring");
    assert.equal((degraded as string[]).filter((why) => reason.test(why)).length, 1, (degraded as string[]).join("\n"));
  }
});

test("Where another userfaultfd holds the memory, the engine says so and works", { skip: needsCompiler }, async (t) => {
  const { degraded, same } = await run(
    t,
    `import koffi from "koffi";
    const lib0 = koffi.load(null);
    const open = lib0.func("syscall", "long", ["long", "long"]);
    const ioctl = lib0.func("int ioctl(int fd, unsigned long request, uint64_t *argument)");
    const theirs = Number(open(${userfaultfdSyscall(process.arch)}, 1 | 0o2000000));
    if (ioctl(theirs, 0xc018aa3f, new BigUint64Array([0xaan, 0n, 0n])) !== 0) throw new Error("UFFDIO_API");
    const { Memory } = WebAssembly;
    WebAssembly.Memory = function (limits) {
      const memory = new Memory(limits);
      const bytes = memory.buffer.byteLength;
      const at = koffi.address(new Uint8Array(memory.buffer));
      // For faults on absent pages; there are none that the kernel can't find itself, since it's left alone after this.
      const range = new BigUint64Array([at, BigInt(bytes), 2n, 0n]);
      if (bytes > ${MIB} && ioctl(theirs, 0xc020aa00, range) !== 0) throw new Error("UFFDIO_REGISTER");
      return memory;
    };
    ${BED}
    const same = (await read(0, 3)) === (await read(1, 3));
    await arena.discard();
    const { degraded } = engine.stats();
    await engine.close();
    console.log(JSON.stringify({ degraded, same }));
    process.exit(0);`,
  );
  assert.equal(same, true);
  assert.match((degraded as string[]).join("\n"), /aren't followed on memory that another userfaultfd has registered/);
});
