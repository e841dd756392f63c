// The monitor can't open a thread's files in /proc, so it can't see which thread discards: it announces every call, and
// no read is lost.
import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK_BYTES } from "../support/blocks.js";
import { needsRoot } from "../support/disks.js";
import { BED, runMonitored, SEES_WORKERS } from "./monitored.js";
import { ENDED, needsCompiler } from "./native.js";

/** No new descriptor can be had, also not the number of one that was closed, until the limit is raised again. */
const DESCRIPTORS = `
  const setrlimit = koffi.load(null).func("int setrlimit(int resource, uint64_t *limits)");
  const RLIMIT_NOFILE = 7;
  const allowDescriptors = (count) => setrlimit(RLIMIT_NOFILE, new BigUint64Array([BigInt(count), 100n]));
`;

/** Leases that none goes by the clock, discards of all of the memory by a native thread, and every page read again. */
const DISCARDS = `
  const { readFileSync } = await import("node:fs");
  const content = new Uint32Array(new Uint8Array(readFileSync(file)).buffer);
  const wrong = [];
  const rounds = async (what, count) => {
    for (let round = 0; round < count; round++) {
      for (let i = 0; i < 3; i++) await Promise.all(Array.from({ length: 16 }, (_, place) => read(place, place)));
      const at = Atomics.load(words, ${ENDED});
      start(address, memory.byteLength, 1, 0, 0, wordsAt);
      await within("a discard", () => Atomics.load(words, ${ENDED}) > at);
      const blocks = await Promise.all(Array.from({ length: 16 }, (_, place) => read(place, (place + round) % 16)));
      for (const [place, found] of blocks.entries())
        if (found !== content[((place + round) % 16) * ${BLOCK_BYTES / 4}]) wrong.push([what, round, place, found]);
    }
  };
`;

for (const options of [{ lease: { idle: 5000, max: 20_000 } }, { scheme: "aio" }]) {
  test(`No read is lost while a native thread discards and descriptors lack, or later, ${JSON.stringify(options)}`, {
    skip: needsCompiler,
  }, async (t) => {
    const { wrong, degraded, all } = await runMonitored(
      t,
      `${SEES_WORKERS} globalThis.options = ${JSON.stringify(options)}; ${BED} ${DISCARDS} ${DESCRIPTORS}
      await rounds("before", 3);
      allowDescriptors(0);
      await rounds("without descriptors", 5);
      allowDescriptors(100);
      await rounds("after", 20);
      console.log(JSON.stringify({ wrong, degraded: engine.stats().degraded, all: workers.map(({ name }) => name) }));
      process.exit(0);`,
    );
    assert.deepEqual(wrong, []);
    assert.doesNotMatch((degraded as string[]).join("\n"), /monitor/);
    assert.equal((all as string[]).filter((name) => name === "pinless-monitor").length, 1);
  });
}

for (const options of [{ lease: { idle: 5000, max: 20_000 } }, { scheme: "aio" }]) {
  test(`A monitor that ended is started again as soon as it can be, and no read is lost, ${JSON.stringify(options)}`, {
    skip: needsCompiler,
  }, async (t) => {
    const { wrong, degraded } = await runMonitored(
      t,
      `${SEES_WORKERS} globalThis.options = ${JSON.stringify(options)}; ${BED} ${DISCARDS} ${DESCRIPTORS}
      const monitors = () => workers.filter(({ name }) => name === "pinless-monitor");
      const has = (sentence) => engine.stats().degraded.some((each) => sentence.test(each));
      await rounds("before", 3);
      await monitors().at(-1).worker.terminate();
      await within("another", () => has(/started again, once/));
      await rounds("after one", 10);
      allowDescriptors(0);
      await monitors().at(-1).worker.terminate();
      // One that ended within a second of its start isn't started at once, so the reason may be that it ended.
      await within("its absence", () => has(/aren't followed \\(.*(EMFILE|ended with code)/));
      allowDescriptors(100);
      await engine.arena({ bytes: 4096 });
      await within("the third", () => has(/started again, 2 times/));
      await rounds("after two", 10);
      console.log(JSON.stringify({ wrong, degraded: engine.stats().degraded }));
      process.exit(0);`,
    );
    assert.deepEqual(wrong, [], (degraded as string[]).join("\n"));
    assert.doesNotMatch((degraded as string[]).join("\n"), /aren't followed/);
  });
}

test("After chroot to where there is no /proc no read is lost", { skip: needsRoot || needsCompiler }, async (t) => {
  const { wrong, degraded } = await runMonitored(
    t,
    `globalThis.options = { lease: { idle: 5000, max: 20_000 } }; import koffi from "koffi"; ${BED} ${DISCARDS}
    await rounds("before", 3);
    const root = file.slice(0, file.lastIndexOf("/"));
    if (koffi.load(null).func("int chroot(const char *path)")(root) !== 0) throw new Error("chroot: " + koffi.errno());
    await rounds("after", 10);
    console.log(JSON.stringify({ wrong, degraded: engine.stats().degraded }));
    process.exit(0);`,
  );
  assert.deepEqual(wrong, []);
  assert.doesNotMatch((degraded as string[]).join("\n"), /monitor/);
});
