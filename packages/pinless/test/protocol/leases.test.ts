import assert from "node:assert/strict";
import { test } from "node:test";
import { ChunkTable, DEVICE_READS, LEASE, REVALIDATE, SEGMENTS, USED_MS } from "../../dist/protocol/chunk-table.js";
import {
  claim,
  HEARTBEAT_MS,
  LeaseTable,
  LIVE,
  LIVE_CLEAN,
  MAX_SEGMENTS,
  PINNED_PAGES,
  returned,
} from "../../dist/protocol/lease-table.js";
import { Leases } from "../../dist/protocol/leases.js";
import { Pressure } from "../../dist/protocol/pressure.js";

const CHUNK = 65536;
const PAGE = 4096;
const START = 0x7f00_0000_0000;
const CHUNKS = 8;
const HUGE_PAGE = 512 * PAGE;

/** Leases over an arena of eight chunks, and what was asked of the kernel, in order. */
function setUp({
  slots = 4,
  budgetPages = 1024,
  idleMs = 10,
  maxMs = 100,
  chunks = CHUNKS,
  chunkBytes = CHUNK,
  pressure = null as Pressure | null,
} = {}) {
  const calls: string[] = [];
  const gone: number[] = [];
  const first: number[] = [];
  const answers = { take: 0, populate: 0, costPages: 0 };
  const chunkOf = (address: number): number => (address - START) / CHUNK;
  const user = { another: false, asked: 0 };
  const registrations = {
    slots,
    get outlived(): boolean {
      user.asked++;
      return user.another;
    },
    take: (slot: number, address: number, bytes: number): number => {
      calls.push(`take ${slot}: chunk ${chunkOf(address)}, ${bytes / PAGE} pages`);
      return answers.take;
    },
    drop: (slot: number): number => {
      calls.push(`drop ${slot}`);
      return 0;
    },
    populate: (address: number, bytes: number): number => {
      calls.push(`populate chunk ${chunkOf(address)}, ${bytes / PAGE} pages`);
      return answers.populate;
    },
    costPages: () => answers.costPages,
  };
  const table = new ChunkTable({ start: START, end: START + chunks * chunkBytes }, chunkBytes);
  const leases: Leases = new Leases(
    new LeaseTable({ slots, budgetBytes: budgetPages * PAGE, idleMs, maxMs }),
    registrations,
    [table],
    { firstTaken: (nowMs) => void first.push(nowMs), pressure },
  );
  leases.connect({
    leaseGone: (_table, chunk) => {
      gone.push(chunk);
      table.store(chunk, LEASE, 0);
    },
  });
  const said = (): string[] => calls.splice(0);
  /** As the gate does: looks for a lease, and notes that the chunk was used. */
  const use = (chunk: number, nowMs: number, deviceWrite = false, bytes = PAGE): number => {
    const slot = leases.acquire(0, chunk, deviceWrite, nowMs, bytes);
    table.store(chunk, USED_MS, nowMs);
    return slot;
  };
  return { leases, table, answers, user, said, gone, first, use };
}

/** A lease for each of these chunks. */
function setUpWith(chunks: number[], options: Parameters<typeof setUp>[0] = {}) {
  const all = setUp(options);
  for (const chunk of chunks) {
    all.use(chunk, chunk + 1);
    assert.ok(all.use(chunk, chunk + 2) >= 0);
  }
  all.said();
  return all;
}

test("Leases.acquire takes a lease on the second use within idle, not on the first", () => {
  const { use, said, table } = setUp({ idleMs: 10 });
  assert.equal(use(2, 100), -1);
  assert.equal(use(2, 110), -1, "idle has passed");
  assert.deepEqual(said(), []);
  assert.equal(use(2, 119), 0);
  assert.deepEqual(said(), ["take 0: chunk 2, 16 pages"]);
  assert.equal(table.load(2, LEASE), 1);
});

test("Leases.acquire counts idle across the clock's wrap", () => {
  const { use } = setUp({ idleMs: 10 });
  assert.equal(use(0, 0x7fffffff - 3), -1);
  assert.equal(use(0, -0x80000000 + 3), 0);
});

test("Leases.acquire pins first, then populates, and only for device writes (DEVICE_WRITES_DIRTY)", () => {
  const { use, said, leases } = setUp();
  use(1, 1);
  assert.equal(use(1, 2, true), 0);
  assert.deepEqual(said(), ["take 0: chunk 1, 16 pages", "populate chunk 1, 16 pages"]);
  assert.equal(leases.table.state(0), LIVE);
  use(3, 1);
  assert.equal(use(3, 2), 1);
  assert.deepEqual(said(), ["take 1: chunk 3, 16 pages"]);
  assert.equal(leases.table.state(1), LIVE_CLEAN);
  assert.equal(use(3, 3, true), 1, "populated later");
  assert.deepEqual(said(), ["populate chunk 3, 16 pages"]);
});

test("Leases.acquire notes the use that populates a lease", () => {
  const { use, leases } = setUp({ idleMs: 10 });
  use(1, 1);
  use(1, 2);
  use(1, 11, true);
  assert.equal(leases.table.lastUseMs(0), 11);
});

test("Leases.acquire lets a device write go per-io while its pages can't be populated", () => {
  const { use, leases, answers } = setUp();
  answers.populate = -12;
  use(1, 1);
  assert.equal(use(1, 2, true), -1);
  assert.equal(leases.table.state(0), LIVE_CLEAN, "device reads may use it");
  answers.populate = 0;
  assert.equal(use(1, 3, true), 0);
});

test("Leases.acquire doesn't give out a lease that the monitor claimed while it was populated", () => {
  const { use, leases, answers } = setUp();
  use(1, 1);
  use(1, 2);
  // The monitor's turn, in the middle of the call.
  Object.defineProperty(answers, "populate", { get: () => (claim(leases.table.words, 0) ? 0 : -1) });
  assert.equal(use(1, 3, true), -1);
});

test("Leases.acquire pauses 10 ms after a refusal by the kernel, then tries again, and keeps the errno", () => {
  const { use, said, answers, leases } = setUp({ idleMs: 50 });
  answers.take = -12;
  use(0, 1);
  assert.equal(use(0, 2), -1);
  assert.equal(leases.lastRefusal, -12);
  assert.equal(said().length, 1);
  answers.take = 0;
  assert.equal(use(0, 11), -1);
  assert.deepEqual(said(), []);
  assert.equal(use(0, 12), 0);
  assert.equal(use(1, 13), -1);
  assert.equal(use(1, 14), 1, "no pause after a success");
});

test("Leases.acquire makes room by dropping the least recently used lease, one each millisecond (BUDGET)", () => {
  const { use, said, leases, gone } = setUpWith([0, 1, 2], { slots: 3 });
  leases.table.use(0, false, 9);
  use(5, 10);
  assert.equal(use(5, 11), -1, "the slot isn't free yet");
  assert.deepEqual(said(), ["drop 1"]);
  use(6, 11);
  assert.equal(use(6, 11), -1);
  assert.deepEqual(said(), [], "another in the same millisecond");
  leases.released(1, 12);
  assert.deepEqual(gone, [1]);
  assert.equal(use(5, 12), 1);
  assert.deepEqual(said(), ["take 1: chunk 5, 16 pages"]);
});

test("Leases.acquire makes room when bytes or segments are short, not only slots", () => {
  const short = setUpWith([0, 1], { budgetPages: 32 });
  short.use(2, 10);
  assert.equal(short.use(2, 11), -1);
  assert.deepEqual(short.said(), ["drop 0"]);
  const many = setUpWith([], { slots: 8, budgetPages: 1 << 20 });
  for (const chunk of [0, 1]) many.table.store(chunk, SEGMENTS, MAX_SEGMENTS / 2);
  for (const chunk of [0, 1, 2]) {
    many.use(chunk, chunk + 1);
    many.use(chunk, chunk + 2);
  }
  assert.deepEqual(many.said(), ["take 0: chunk 0, 16 pages", "take 1: chunk 1, 16 pages", "drop 0"]);
});

test("Leases.acquire spares a lease in use, in either direction", () => {
  const { use, said, table } = setUpWith([0, 1], { slots: 2 });
  table.add(0, DEVICE_READS, 1);
  use(5, 10);
  use(5, 11);
  assert.deepEqual(said(), ["drop 1"]);
  table.add(1, DEVICE_READS, 1);
  use(5, 12);
  assert.deepEqual(said(), [], "all are used, or on their way");
});

test("Leases.acquire drops nothing for a chunk that could never fit", () => {
  const { use, said } = setUpWith([], { budgetPages: 15 });
  use(5, 10);
  assert.equal(use(5, 11), -1);
  assert.deepEqual(said(), []);
});

test("Leases.acquire counts a part of a huge page as all of it", () => {
  const { use, table, leases } = setUp({ budgetPages: 1024, slots: 8 });
  for (const chunk of [0, 1, 2]) {
    table.notePages(table.rangeOf(chunk), () => true);
    use(chunk, chunk + 1);
    use(chunk, chunk + 2);
  }
  assert.equal(leases.table.header(PINNED_PAGES), (2 * HUGE_PAGE) / PAGE);
  assert.equal(leases.held, 2, "the third made the first one go");
});

test("Leases.acquire with many chunks takes a lease once per-io requests have cost as much", () => {
  const { use, answers } = setUp({ idleMs: 10, slots: 8, chunks: 129 });
  answers.costPages = 20;
  for (let n = 0; n < 20; n++) assert.equal(use(0, 1 + n), -1, `${n} pages before`);
  assert.equal(use(0, 21), 0);
  for (const ms of [1, 2, 3, 4]) assert.equal(use(1, ms, false, 5 * PAGE), -1);
  assert.equal(use(1, 5, false, PAGE), 1, "large requests sooner");
  for (let n = 0; n < 100; n++) assert.equal(use(2, 1 + 10 * n), -1, "a pause each");
});

test("Leases.acquire with a few large chunks takes a lease once it has paid, as with many small ones", () => {
  const { use, answers } = setUp({ idleMs: 10, chunks: 2, chunkBytes: 4 << 20 });
  answers.costPages = 20;
  for (let n = 0; n < 20; n++) assert.equal(use(0, 1 + n), -1);
  assert.equal(use(0, 21), 0);
});

test("Leases.acquire with a few chunks looks at a lease's cost only for a second after there was no room", () => {
  const { use, answers, said, leases } = setUp({ idleMs: 10_000, slots: 1, maxMs: 3_600_000, budgetPages: 16 });
  answers.costPages = 1000;
  use(0, 1);
  assert.equal(use(0, 2), 0);
  use(1, 3);
  leases.table.use(0, false, 4);
  assert.equal(use(1, 5), -1, "there's no room");
  said();
  for (let ms = 6; ms < 1005; ms += 10) assert.equal(use(1, ms), -1);
  assert.deepEqual(said(), []);
  use(1, 1005);
  assert.deepEqual(said(), ["drop 0"]);
});

test("Leases.acquire keeps the leases if memory is used evenly and far beyond the budget (no churn)", () => {
  const { use, said, leases, table, answers } = setUp({ slots: 4, chunks: 16, idleMs: 50, maxMs: 3_600_000 });
  answers.costPages = 12;
  let perIo = 0;
  for (let n = 0; n < 16 * 400; n++) {
    const [chunk, nowMs] = [(n * 7) % 16, 1 + (n >> 3)];
    const held = table.load(chunk, LEASE) - 1;
    if (held >= 0 && leases.table.use(held, false, nowMs)) table.store(chunk, USED_MS, nowMs);
    else if (use(chunk, nowMs) < 0) perIo++;
  }
  assert.deepEqual(
    said().map((call) => call.slice(0, 4)),
    ["take", "take", "take", "take"],
  );
  assert.ok(perIo > 16 * 290);
});

test("Leases.acquire replaces a lease if another chunk has missed a lease's cost since its last use", () => {
  const { use, said, answers, leases } = setUpWith([0], { slots: 1, idleMs: 50 });
  answers.costPages = 8;
  for (let n = 0; n < 9; n++) use(3, 10 + n);
  assert.deepEqual(said(), ["drop 0"]);
  leases.released(0, 20);
  assert.equal(use(3, 21), 0);
  said();
  for (let n = 0; n < 100; n++) {
    leases.table.use(0, false, 22 + n);
    assert.equal(use(5, 22 + n), -1);
  }
  assert.deepEqual(said(), [], "chunk 3 is used all the time");
});

test("A chunk whose lease was held for max goes per-io for a sixteenth of it, and no longer", () => {
  const { use, leases, table, gone } = setUpWith([0, 1], { idleMs: 1000, maxMs: 160 });
  for (let ms = 3; ms < 162; ms += 5) for (const slot of [0, 1]) leases.table.use(slot, false, ms);
  leases.drop(1);
  leases.released(1, 100);
  leases.tick(162);
  leases.released(0, 163);
  assert.deepEqual(gone, [1, 0]);
  for (const [chunk, ms, slot] of [
    [0, 164, -1],
    [1, 164, 0],
    [0, 172, -1],
    [0, 173, 1],
  ] as const) {
    table.store(chunk, USED_MS, ms - 1);
    assert.equal(use(chunk, ms), slot, `chunk ${chunk} at ${ms} ms`);
  }
});

test("A chunk rests across the clock's wrap, and not for a whole round of the clock", () => {
  const { use, leases, table } = setUpWith([0], { idleMs: 1000, maxMs: 160 });
  const start = 0x7fffffff - 5;
  leases.table.use(0, false, start);
  leases.tick(start);
  leases.released(0, start);
  for (const [ms, slot] of [
    [start + 1, -1],
    [(start + 9) | 0, -1],
    [start - 1_000_000, 0],
  ] as const) {
    table.store(0, USED_MS, ms - 1);
    assert.equal(use(0, ms), slot, `${ms}`);
  }
});

test("Leases.acquire counts a lease as taken again only after an invalidation", () => {
  const { use, table, leases } = setUp();
  use(0, 1);
  use(0, 2);
  assert.equal(leases.revalidated, 0);
  leases.drop(0);
  leases.released(0, 3);
  table.store(0, LEASE, REVALIDATE);
  use(0, 4);
  assert.equal(leases.revalidated, 1);
});

test("Leases reports the first lease, and again the first after all were dropped", () => {
  const { use, leases, first } = setUp();
  use(0, 1);
  use(0, 2);
  use(1, 2);
  use(1, 3);
  assert.deepEqual(first, [2]);
  leases.dropAll();
  for (const slot of [0, 1]) leases.released(slot, 4);
  use(1, 5);
  assert.deepEqual(first, [2, 5]);
});

test("Leases.giveUp drops all and takes none until it's over", () => {
  const { use, said, leases } = setUpWith([0, 1]);
  leases.giveUp(true);
  assert.deepEqual(said(), ["drop 0", "drop 1"]);
  for (const slot of [0, 1]) leases.released(slot, 4);
  assert.equal(use(0, 5), -1);
  leases.giveUp(false);
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

test("Leases.tick drops leases that are idle or held too long, and updates the heartbeat (NO_IDLE_PIN)", () => {
  const { leases, said, use } = setUpWith([0, 1], { idleMs: 10, maxMs: 30 });
  leases.table.use(1, false, 9);
  leases.tick(12);
  assert.deepEqual(said(), ["drop 0"]);
  assert.equal(leases.table.header(HEARTBEAT_MS), 12);
  for (let nowMs = 13; nowMs < 33; nowMs += 5) {
    leases.table.use(1, false, nowMs);
    leases.tick(nowMs);
    assert.deepEqual(said(), []);
  }
  leases.table.use(1, false, 33);
  leases.tick(33);
  assert.deepEqual(said(), ["drop 1"]);
  assert.equal(use(1, 34), -1, "on its way");
});

test("Leases.drop of a lease that is being dropped does nothing", () => {
  const { leases, said } = setUpWith([0]);
  leases.drop(0);
  leases.drop(0);
  leases.dropAll();
  assert.deepEqual(said(), ["drop 0"]);
  assert.deepEqual(leases.onTheirWay(), [0]);
});

test("Leases.collect frees the slots of leases that the monitor dropped, once its update has returned", () => {
  const { leases, gone } = setUpWith([0]);
  claim(leases.table.words, 0);
  assert.equal(leases.uncollected, true);
  leases.released(0, 5);
  leases.collect(5);
  assert.deepEqual(gone, [], "tag seen, update not returned");
  returned(leases.table.words, 0);
  assert.deepEqual(gone, []);
  leases.collect(6);
  assert.deepEqual(gone, [0]);
  assert.equal(leases.held, 0);
  assert.equal(leases.uncollected, false);
});

test("Leases.released frees the slot at once if the update has returned", () => {
  const { leases, gone } = setUpWith([0]);
  claim(leases.table.words, 0);
  returned(leases.table.words, 0);
  leases.released(0, 5);
  assert.deepEqual(gone, [0]);
  assert.equal(leases.uncollected, false);
});

test("Leases.mend completes drops of a monitor that has ended, in any state: each lease ends once", () => {
  const { leases, said, gone } = setUpWith([0, 1, 2, 3]);
  const { words } = leases.table;
  // Slot 0: claimed. Slot 1: its tag was seen as well. Slot 2: all of it was done.
  for (const slot of [0, 1, 2]) claim(words, slot);
  leases.released(1, 20);
  returned(words, 2);
  leases.mend(30);
  assert.deepEqual(said(), ["drop 0"]);
  assert.deepEqual(gone, [1]);
  for (const slot of [0, 2]) leases.released(slot, 40);
  assert.deepEqual([gone, leases.held], [[1, 0, 2], 1]);
  leases.mend(50);
  assert.deepEqual([said(), leases.uncollected], [[], false]);
});

test("Leases are dropped after the process changes its user, at the latest by the clock", () => {
  for (const by of ["use", "clock"] as const) {
    const { leases, said, user, use } = setUpWith([0, 1]);
    user.another = true;
    if (by === "clock") leases.tick(10);
    else {
      use(2, 9);
      assert.equal(use(2, 10), -1);
    }
    assert.deepEqual(said(), ["drop 0", "drop 1"]);
    assert.equal(leases.lastRefusal, -1);
    user.another = false;
    for (const slot of [0, 1]) leases.released(slot, 20);
    use(2, 30);
    assert.ok(use(2, 31) >= 0);
  }
});

test("Leases check the user once a millisecond, however many are taken", () => {
  const { user, use } = setUpWith([]);
  for (const chunk of [0, 1, 2, 3]) use(chunk, 5);
  for (const chunk of [0, 1, 2, 3]) assert.ok(use(chunk, 6) >= 0);
  assert.equal(user.asked, 1);
});
