import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Pressure, type PressureReading } from "../../dist/protocol/pressure.js";

/** A kernel whose counters a test moves, and the policy that reads them. */
function setUp(startMs = 1000) {
  const counters = { host: 0, own: 0, limitHits: 0, oomKills: 0, failures: 0 };
  const state = { reads: 0, cacheShare: 1, nowMs: startMs };
  const pressure = new Pressure({
    name: "a kernel",
    read(): PressureReading {
      state.reads++;
      const { host, own, limitHits, oomKills, failures } = counters;
      return { stallsUs: [host, own], limitHits, oomKills, failures };
    },
    cacheShare: () => state.cacheShare,
  });
  /** Time goes on, and tasks stand still for a part of it. */
  const pass = (ms: number, share = 0): void => {
    state.nowMs = (state.nowMs + ms) | 0;
    counters.own += Math.round(ms * 1000 * share);
  };
  const rises = (): boolean => pressure.rises(state.nowMs, () => []);
  const isOver = (): boolean => pressure.isOver(state.nowMs);
  const rise = (): void => {
    // A reading just before may not be due again yet.
    pass(250);
    rises();
    pass(250, 0.5);
    assert.equal(rises(), true);
  };
  /** Milliseconds for which leases stay given up, if a request wants one in each millisecond. */
  const wait = (): number => {
    let waited = 0;
    for (; !isOver(); waited++) pass(1);
    return waited;
  };
  return { counters, state, pressure, pass, rises, isOver, rise, wait };
}

test("Pressure gives leases up while the kernel compacts memory, until it hasn't for 750 ms", () => {
  let scanned = 1_000_000;
  let readings = 0;
  const pressure = new Pressure({
    name: "a kernel",
    read: () => ({ stallsUs: [0], limitHits: 0, oomKills: 0, failures: 0 }),
    scannedPages: () => {
      readings++;
      return scanned;
    },
    cacheShare: () => 1,
  });
  const rises = (nowMs: number, pages: number): boolean => {
    scanned += pages;
    return pressure.rises(nowMs, () => []);
  };
  assert.equal(rises(1000, 100_000), false, "there's nothing to compare with yet");
  assert.equal(rises(1024, 0), false);
  assert.equal(readings, 1, "another one isn't due");
  assert.equal(rises(1025, 16_383), false, "a few scans, as for one huge page");
  assert.equal(rises(2025, 16_384), false, "the reading is too old: the scans may be of its whole second");
  assert.equal(rises(2050, 16_384), true);
  assert.deepEqual([pressure.active, pressure.givenUp], [true, 1]);
  assert.equal(pressure.isOver(2150), false);
  scanned += 20_000;
  assert.equal(pressure.isOver(2500), false);
  assert.equal(pressure.isOver(3249), false, "it went on at 2,500");
  assert.equal(pressure.isOver(3250), true);
  assert.equal(pressure.active, false);
  assert.equal(rises(3260, 0), false);
});

test("Pressure gives leases up while their pages are on another node, whatever pressure says meanwhile", () => {
  let away = 1;
  const pressure = new Pressure({
    name: "a kernel",
    read: () => ({ stallsUs: [0], limitHits: 0, oomKills: 0, failures: 0 }),
    elsewhere: (pages) => pages.length * away,
    cacheShare: () => 1,
  });
  assert.equal(
    pressure.rises(1000, () => [4096]),
    true,
  );
  assert.deepEqual([pressure.active, pressure.givenUp], [true, 1]);
  assert.equal(pressure.isOver(2999), false);
  away = 0;
  assert.equal(pressure.isOver(3249), true);
  assert.equal(pressure.active, false);
});

test("Pressure.rises compares readings: counts before the first one don't matter", () => {
  const { pass, rises, pressure } = setUp();
  pass(250, 1);
  assert.equal(rises(), false);
  assert.deepEqual([pressure.active, pressure.givenUp, pressure.source], [false, 0, "a kernel"]);
});

test("Pressure.rises if tasks stalled for a tenth of the time, on the host or in the own cgroup", () => {
  for (const counter of ["host", "own"] as const) {
    const { counters, pass, rises, pressure } = setUp();
    rises();
    pass(250);
    counters[counter] += 24_999;
    assert.equal(rises(), false);
    pass(250);
    counters[counter] += 25_000;
    assert.equal(rises(), true);
    assert.deepEqual([pressure.active, pressure.givenUp], [true, 1]);
  }
});

test("Pressure.rises doesn't add up the stalls of two sources", () => {
  const { counters, pass, rises } = setUp();
  rises();
  pass(250);
  counters.host += 20_000;
  counters.own += 20_000;
  assert.equal(rises(), false);
});

test("Pressure.rises at half of that if the host also fails to move pages; failures alone don't count", () => {
  const { counters, pass, rises } = setUp();
  rises();
  pass(250, 0.049);
  counters.failures += 1000;
  assert.equal(rises(), false);
  pass(250, 0.051);
  assert.equal(rises(), false, "no failure in this time");
  pass(250, 0.051);
  counters.failures++;
  assert.equal(rises(), true);
});

test("Pressure.rises at a limit with no page cache left, not where there's cache to be recycled", () => {
  const { counters, state, pass, rises } = setUp();
  rises();
  state.cacheShare = 0.11;
  pass(250);
  counters.limitHits += 1000;
  assert.equal(rises(), false);
  state.cacheShare = 0.1;
  pass(250);
  assert.equal(rises(), false, "the limit wasn't met in this time");
  pass(250);
  counters.limitHits++;
  assert.equal(rises(), true);
});

test("Pressure.rises after a process was killed for lack of memory", () => {
  const { counters, pass, rises } = setUp();
  rises();
  pass(250);
  counters.oomKills++;
  assert.equal(rises(), true);
});

test("Pressure.rises reads every 250 ms, however often it's asked, also across the clock's wrap", () => {
  const { state, pass, rises, pressure } = setUp(0x7fffffff - 1000);
  for (let ms = 0; ms < 2000; ms++) {
    rises();
    pass(1);
  }
  assert.equal(state.reads, 8);
  pass(250, 0.5);
  assert.equal(rises(), true);
  assert.equal(pressure.active, true);
});

test("Pressure goes on after a pause in which the clock has half wrapped", () => {
  const { state, pass, rises, isOver, rise } = setUp();
  rises();
  pass(0x7fffffff);
  pass(1000);
  rises();
  assert.equal(state.reads, 2);
  rise();
  pass(0x7fffffff);
  pass(1000);
  assert.equal(isOver(), true);
});

test("Pressure ignores files that can't be read", () => {
  const { counters, pass, rises } = setUp();
  rises();
  pass(250, 0.01);
  Object.assign(counters, { host: Number.NaN, limitHits: Number.NaN, oomKills: Number.NaN, failures: Number.NaN });
  assert.equal(rises(), false);
  pass(250, 0.5);
  assert.equal(rises(), true);
});

test("Pressure.isOver after a second of quiet, with one reading", () => {
  const { state, rise, wait, pressure } = setUp();
  rise();
  const { reads } = state;
  assert.equal(wait(), 1000);
  assert.equal(state.reads, reads + 1);
  assert.deepEqual([pressure.active, pressure.givenUp], [false, 1]);
});

test("Pressure.isOver is false while tasks stall for a twentieth of the time", () => {
  const { pass, isOver, rise, wait, pressure } = setUp();
  rise();
  for (let round = 0; round < 5; round++) {
    pass(1000, 0.05);
    assert.equal(isOver(), false);
  }
  pass(1000, 0.049);
  assert.equal(isOver(), true, "less is what streaming through the page cache at a limit does");
  // What went on wasn't a return.
  pass(1000);
  rise();
  assert.equal(wait(), 1000);
  assert.equal(pressure.givenUp, 2);
});

test("Pressure.isOver waits 1 s, and twice as long, to 32 s, each time pressure comes back soon", () => {
  const { pass, rise, wait } = setUp();
  const waits: number[] = [];
  for (let i = 0; i < 7; i++) {
    rise();
    waits.push(wait());
  }
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000]);
  // 500 ms of it pass in rise().
  pass(31_499);
  rise();
  assert.equal(wait(), 32_000);
  pass(31_500);
  rise();
  assert.equal(wait(), 1000);
});

test("Pressure: leases are given up soon in a stall, and come back only after quiet (any course of time)", () => {
  const spans = fc.array(
    fc.record({ ms: fc.integer({ min: 1, max: 5000 }), share: fc.constantFrom(0, 0.02, 0.2, 1) }),
    {
      maxLength: 40,
    },
  );
  fc.assert(
    fc.property(spans, fc.integer({ min: 1, max: 40 }), (list, stepMs) => {
      const { counters, state, pass, rises, isOver, pressure } = setUp();
      let stallingMs = 0;
      let quietMs = 0;
      let last = { reads: 0, nowMs: state.nowMs, stalledUs: 0 };
      for (const { ms, share } of list) {
        for (let passed = 0; passed < ms; passed += stepMs) {
          pass(stepMs, share);
          stallingMs = share >= 0.2 ? stallingMs + stepMs : 0;
          quietMs = share >= 0.2 ? 0 : quietMs + stepMs;
          const wasActive = pressure.active;
          const changed = wasActive ? isOver() : rises();
          assert.equal(pressure.active, wasActive !== changed);
          // One reading covers the whole quiet time, a twentieth of which may be stalls: the time to rise begins here.
          if (wasActive && changed) stallingMs = 0;
          // Half of a reading's time at 20 % is 10 %.
          assert.ok(pressure.active || stallingMs <= 500 + stepMs, `not given up after ${stallingMs} ms`);
          // A reading that saw the stall's end, a whole quiet time, and it's over.
          assert.ok(!pressure.active || quietMs <= 64_000 + stepMs, `given up after ${quietMs} ms of quiet`);
          if (state.reads === last.reads) continue;
          const sinceMs = state.nowMs - last.nowMs;
          const stalled = (counters.own - last.stalledUs) / (sinceMs * 1000);
          if (wasActive) assert.ok(sinceMs >= 1000 && changed === stalled < 0.05, `${stalled} of ${sinceMs} ms`);
          else if (last.reads > 0)
            assert.ok(sinceMs >= 250 && changed === stalled >= 0.1, `${stalled} of ${sinceMs} ms`);
          last = { reads: state.reads, nowMs: state.nowMs, stalledUs: counters.own };
        }
      }
    }),
    { numRuns: 200 },
  );
});
