// Leases when memory is short: all are given up, and taken again after a quiet time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Pressure } from "../../dist/protocol/pressure.js";
import { CHUNK, PAGE, START, setUpWith } from "./lease-bed.js";

test("Leases.giveUp drops all and takes none until it's over", () => {
  const { use, said, leases } = setUpWith([0, 1]);
  leases.giveUp();
  assert.deepEqual(said(), ["drop 0", "drop 1"]);
  for (const slot of [0, 1]) leases.released(slot, 4);
  assert.equal(use(0, 5), -1);
  leases.takeAgain();
  assert.equal(use(0, 6), 0);
});

test("Leases.checkPressure gives all up on a rise, and the first request after quiet takes leases again", () => {
  let stalledUs = 0;
  const source = {
    name: "",
    read: () => ({ stallsUs: [stalledUs], limitHits: 0, oomKills: 0, failures: 0 }),
    cacheShare: () => 1,
  };
  const { use, said, leases } = setUpWith([0, 1], { idleMs: 100_000, pressure: new Pressure(source) });
  leases.checkPressure(3);
  assert.deepEqual(said(), []);
  stalledUs = 200_000;
  leases.checkPressure(253);
  assert.deepEqual(said(), ["drop 0", "drop 1"]);
  stalledUs = 400_000;
  leases.checkPressure(503);
  assert.equal(leases.pressure?.givenUp, 1, "they're given up already");
  for (const slot of [0, 1]) leases.released(slot, 504);
  assert.equal(use(0, 600), -1);
  assert.equal(use(0, 1253), -1, "there was more of it");
  assert.equal(use(0, 2252), -1);
  assert.deepEqual(said(), []);
  assert.equal(use(0, 2253), 0);
  leases.checkPressure(2254);
  assert.equal(use(1, 2255), 1);
  assert.deepEqual(said(), ["take 0: chunk 0, 16 pages", "take 1: chunk 1, 16 pages"]);
});

test("Leases.checkPressure asks for the place of each lease's pages, and of no others", () => {
  const asked: number[][] = [];
  const source = {
    name: "",
    read: () => ({ stallsUs: [0], limitHits: 0, oomKills: 0, failures: 0 }),
    elsewhere: (pages: readonly number[]) => asked.push([...pages]),
    cacheShare: () => 1,
  };
  const { said, leases } = setUpWith([1, 3], { idleMs: 100_000, pressure: new Pressure(source) });
  leases.checkPressure(3);
  const pagesOf = (chunk: number): number[] => Array.from({ length: 16 }, (_, i) => START + chunk * CHUNK + i * PAGE);
  assert.deepEqual(asked, [[...pagesOf(1), ...pagesOf(3)]]);
  assert.deepEqual(said(), [], "one of 32 is elsewhere");
});

test("Leases.checkPressure asks for some 256 pages of all leases", () => {
  let asked: readonly number[] = [];
  const source = {
    name: "",
    read: () => ({ stallsUs: [0], limitHits: 0, oomKills: 0, failures: 0 }),
    elsewhere: (pages: readonly number[]) => {
      asked = pages;
      return pages.length;
    },
    cacheShare: () => 1,
  };
  const chunks = Array.from({ length: 40 }, (_, i) => i);
  const parts = { slots: 64, chunks: 40, idleMs: 100_000, pressure: new Pressure(source) };
  const { said, leases } = setUpWith(chunks, parts);
  leases.checkPressure(3);
  assert.equal(asked.length, 40 * 6, "each third of a lease's 16 pages");
  assert.deepEqual(
    asked.slice(0, 7),
    [0, 3, 6, 9, 12, 15, 16].map((page) => START + page * PAGE),
  );
  assert.deepEqual(
    said(),
    chunks.map((slot) => `drop ${slot}`),
  );
});

test("Leases.acquire checks the end of pressure only for a lease that would be taken", () => {
  let reads = 0;
  const source = {
    name: "",
    read: () => ({ stallsUs: [200_000 * reads++], limitHits: 0, oomKills: 0, failures: 0 }),
    cacheShare: () => 1,
  };
  const { use, leases } = setUpWith([0], { idleMs: 10, pressure: new Pressure(source) });
  leases.checkPressure(3);
  leases.checkPressure(253);
  leases.released(0, 254);
  assert.equal(use(0, 5000), -1);
  assert.equal(reads, 2, "it's the chunk's first use in a while");
  use(0, 5001);
  assert.equal(reads, 3);
});
