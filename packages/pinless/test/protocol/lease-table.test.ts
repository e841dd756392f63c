import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { READ, WRITE } from "../../dist/protocol/direction.js";
import {
  claim,
  DROPPED,
  DROPPING,
  FREE,
  forEachDue,
  forEachLive,
  GONE,
  HELD_SLOTS,
  LEAVING,
  LeaseTable,
  LIVE,
  LIVE_CLEAN,
  MAX_SEGMENTS,
  MAX_SLOTS,
  PINNED_PAGES,
  PINNED_SEGMENTS,
  RESIDENCY_MAX_MS,
  RETURNED,
  returned,
  TAGGED,
  TAKEN,
} from "../../dist/protocol/lease-table.js";

const PAGE = 4096;

function tableOf(slots: number, budgetPages = 1024): LeaseTable {
  return new LeaseTable({ slots, budgetBytes: budgetPages * PAGE, idleMs: 10, maxMs: 100 });
}

function target(pages: number, segments = pages): { table: number; chunk: number; bytes: number; segments: number } {
  return { table: 1, chunk: 7, bytes: pages * PAGE, segments };
}

function due(table: LeaseTable, nowMs: number): number[] {
  const slots: number[] = [];
  forEachDue(table.words, nowMs, (slot) => slots.push(slot));
  return slots;
}

type Step = "claim" | "returned" | "tagged" | "free";

/** Allowed steps of a lease in each state, and the next states; any other step is a bug. */
const PATHS: Record<number, Partial<Record<Step, number>>> = {
  [FREE]: {},
  [LIVE_CLEAN]: { claim: DROPPING },
  [LIVE]: { claim: DROPPING },
  [DROPPING]: { returned: RETURNED, tagged: TAGGED },
  [RETURNED]: { tagged: GONE },
  [TAGGED]: { returned: GONE },
  [GONE]: { free: FREE },
};

function tell(table: LeaseTable, step: Step): unknown {
  if (step === "claim") return claim(table.words, 0);
  if (step === "returned") return returned(table.words, 0);
  return step === "tagged" ? table.tagged(0) : table.free(0, 0);
}

test("a lease is gone only once its tag was seen and its update returned, in either order", () => {
  const steps: Step[] = ["claim", "returned", "tagged", "free"];
  let reached = new Set<string>();
  for (let n = 0; n < 4 ** 5; n++) {
    for (const clean of [true, false]) {
      const table = tableOf(1);
      table.taken(0, target(1), 0);
      if (!clean) table.populated(0);
      let state = clean ? LIVE_CLEAN : LIVE;
      const path: string[] = [];
      for (let i = 0, rest = n; i < 5; i++, rest = Math.floor(rest / 4)) {
        const step = steps[rest % 4]!;
        path.push(step);
        const next = PATHS[state]![step];
        if (next !== undefined) {
          const answer = tell(table, step);
          if (step === "claim") assert.equal(answer, true, `${path}`);
          if (step === "tagged") assert.equal(answer, next === GONE, `${path}`);
          state = next;
        } else if (step === "claim") assert.equal(tell(table, step), false, `${path}`);
        else {
          assert.throws(() => tell(table, step), { invariant: "REVOKED_MEANS_REVOKED" }, `${path}`);
          break;
        }
        assert.equal(table.state(0), state, `${path}`);
        if (state === FREE) reached = reached.add(path.filter((s) => s !== "claim").join(" "));
      }
    }
  }
  assert.deepEqual([...reached].sort(), ["returned tagged free", "tagged returned free"]);
});

test("LeaseTable.use accepts live leases, for device writes only populated ones, and notes the time", () => {
  const table = tableOf(1);
  assert.equal(table.use(0, WRITE, 1), false, "free");
  table.taken(0, target(1), 1);
  assert.equal(table.use(0, READ, 2), false, "clean");
  assert.equal(table.lastUseMs(0), 1);
  assert.equal(table.use(0, WRITE, 3), true);
  table.populated(0);
  assert.equal(table.use(0, READ, 4), true);
  assert.equal(table.lastUseMs(0), 4);
  claim(table.words, 0);
  for (const direction of [READ, WRITE] as const) assert.equal(table.use(0, direction, 5), false, "dropping");
  assert.equal(table.lastUseMs(0), 4);
});

test("LeaseTable.populated doesn't revive a lease that was claimed meanwhile", () => {
  const table = tableOf(1);
  table.taken(0, target(1), 0);
  claim(table.words, 0);
  table.populated(0);
  assert.equal(table.state(0), DROPPING);
});

test("LeaseTable stays within budget, slots and segments, and its sums equal those of a list (BUDGET)", () => {
  const step = fc.record({
    take: fc.boolean(),
    pages: fc.integer({ min: 1, max: 40 }),
    huge: fc.boolean(),
    pick: fc.nat(),
  });
  const lists = fc.array(step, { maxLength: 60, size: "max" });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 100 }), lists, (slots, budgetPages, list) => {
      const table = tableOf(slots, budgetPages);
      const held = new Map<number, { pages: number; segments: number }>();
      let [taken, dropped] = [0, 0];
      const sum = (of: "pages" | "segments"): number => [...held.values()].reduce((all, lease) => all + lease[of], 0);
      for (const { take, pages, huge, pick } of list) {
        const segments = huge ? 1 : pages;
        const slot = table.freeSlot();
        assert.equal(slot < 0, held.size === slots);
        const fits = sum("pages") + pages <= budgetPages;
        assert.equal(table.fits(pages * PAGE, segments), fits);
        assert.equal(table.couldFit(pages * PAGE, segments), pages <= budgetPages);
        if (take && slot >= 0) {
          if (!fits) {
            assert.throws(() => table.taken(slot, target(pages, segments), 0), { invariant: "BUDGET" });
            continue;
          }
          assert.ok(!held.has(slot));
          table.taken(slot, target(pages, segments), 0);
          held.set(slot, { pages, segments });
          taken++;
        } else if (!take && held.size > 0) {
          const gone = [...held.keys()][pick % held.size]!;
          claim(table.words, gone);
          assert.equal(table.header(LEAVING), 1);
          returned(table.words, gone);
          assert.equal(table.header(PINNED_PAGES), sum("pages"), "pinned until its tag is seen");
          table.tagged(gone);
          table.free(gone, 0);
          held.delete(gone);
          dropped++;
        }
        const headers = [HELD_SLOTS, PINNED_PAGES, PINNED_SEGMENTS, TAKEN, DROPPED, LEAVING].map((w) =>
          table.header(w),
        );
        assert.deepEqual(headers, [held.size, sum("pages"), sum("segments"), taken, dropped, 0]);
      }
    }),
    { numRuns: 200 },
  );
});

test("LeaseTable.fits stops at the cap on segments, which huge pages don't reach", () => {
  const table = tableOf(MAX_SLOTS, 10 * MAX_SEGMENTS);
  table.taken(0, target(MAX_SEGMENTS - 1), 0);
  assert.equal(table.fits(PAGE, 1), true);
  assert.equal(table.fits(2 * PAGE, 2), false);
  assert.equal(table.fits(512 * PAGE, 1), true);
  assert.equal(table.couldFit(PAGE, MAX_SEGMENTS), true);
  assert.equal(table.couldFit(PAGE, MAX_SEGMENTS + 1), false);
  const limits = { slots: 4, budgetBytes: 4 * MAX_SEGMENTS * PAGE, idleMs: 10, maxMs: 100 };
  const uncapped = new LeaseTable({ ...limits, maxSegments: Number.POSITIVE_INFINITY });
  uncapped.taken(0, target(MAX_SEGMENTS), 0);
  assert.equal(uncapped.fits(MAX_SEGMENTS * PAGE, MAX_SEGMENTS), true);
});

test("LeaseTable rounds a part of a page up in the budget", () => {
  const table = tableOf(4, 2);
  table.taken(0, { ...target(1), bytes: PAGE + 1 }, 0);
  assert.equal(table.header(PINNED_PAGES), 2);
  assert.equal(table.fits(1, 1), false);
});

test("LeaseTable refuses 0 slots, and more than MAX_SLOTS", () => {
  for (const slots of [0, MAX_SLOTS + 1]) assert.throws(() => tableOf(slots), { invariant: "BUDGET" }, `${slots}`);
  tableOf(MAX_SLOTS);
});

test("LeaseTable.taken refuses a slot that is in use", () => {
  const table = tableOf(1);
  table.taken(0, target(1), 0);
  assert.throws(() => table.taken(0, target(1), 0), { invariant: "STATE" });
});

test("LeaseTable keeps a slot's chunk, and the longest residency of dropped leases", () => {
  const table = tableOf(3);
  assert.equal(table.header(RESIDENCY_MAX_MS), 0);
  for (const [slot, takenMs, goneMs, longest] of [
    [0, 100, 150, 50],
    [1, 100, 130, 50],
    [2, 0x7fffffff - 10, (0x7fffffff + 60) | 0, 70],
  ] as const) {
    table.taken(slot, { table: slot, chunk: 10 + slot, bytes: PAGE, segments: 1 }, takenMs);
    assert.deepEqual(table.target(slot), { table: slot, chunk: 10 + slot });
    claim(table.words, slot);
    returned(table.words, slot);
    table.tagged(slot);
    table.free(slot, goneMs);
    assert.equal(table.header(RESIDENCY_MAX_MS), longest);
  }
});

// A clock near where an int32 goes round, too.
const clocks = fc.constantFrom(0, 1000, -50, 0x7fffffff - 60, -0x80000000 + 20);

test("leastRecentlyUsed and forEachDue agree with a list, also when the clock wraps", () => {
  const leases = fc.array(
    fc.record({ takenAgo: fc.nat(150), usedAgo: fc.nat(30), live: fc.nat(3), spare: fc.boolean() }),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(clocks, leases, (nowMs, list) => {
      const table = tableOf(list.length);
      list.forEach(({ takenAgo, usedAgo, live }, slot) => {
        table.taken(slot, target(1), (nowMs - Math.max(takenAgo, usedAgo)) | 0);
        if (live > 0) table.populated(slot);
        table.use(slot, WRITE, (nowMs - usedAgo) | 0);
        if (live === 3) claim(table.words, slot);
      });
      const alive = list.map((lease, slot) => ({ ...lease, slot })).filter(({ live }) => live < 3);
      const old = alive.filter(({ takenAgo, usedAgo }) => usedAgo >= 10 || Math.max(takenAgo, usedAgo) >= 100);
      assert.deepEqual(
        due(table, nowMs),
        old.map(({ slot }) => slot),
      );
      const seen: number[] = [];
      forEachLive(table.words, (slot) => seen.push(slot));
      assert.deepEqual(
        seen,
        alive.map(({ slot }) => slot),
      );
      const spare = alive.filter((lease) => lease.spare);
      const longest = Math.max(...spare.map(({ usedAgo }) => usedAgo));
      const expected = spare.find(({ usedAgo }) => usedAgo === longest)?.slot ?? -1;
      assert.equal(
        table.leastRecentlyUsed(nowMs, (slot) => list[slot]!.spare),
        expected,
      );
    }),
  );
});

test("forEachDue skips a lease whose time, by another thread's clock, is in the future", () => {
  const table = tableOf(1);
  table.taken(0, target(1), 1000);
  assert.deepEqual(due(table, 900), []);
  assert.deepEqual(due(table, 1009), []);
  assert.deepEqual(due(table, 1010), [0]);
});

test("The default max counts for each GiB that leases pin, a given one doesn't", () => {
  const MIB = 1 << 20;
  for (const [maxGrows, mib, maxMs] of [
    [true, 512, 100],
    [true, 1024, 100],
    [true, 4096, 400],
    [true, 8192, 800],
    [false, 8192, 100],
  ] as const) {
    const table = new LeaseTable({ slots: MAX_SLOTS, budgetBytes: 8192 * MIB, idleMs: 10_000, maxMs: 100, maxGrows });
    for (let slot = 0; slot < mib / 16; slot++)
      table.taken(slot, { table: 0, chunk: slot, bytes: 16 * MIB, segments: 8 }, 0);
    assert.deepEqual(due(table, maxMs - 1), [], `${mib} MiB`);
    assert.equal(due(table, maxMs + 1).length, mib / 16, `${mib} MiB`);
    assert.equal(table.restMs, maxMs >> 4);
  }
});

test("LeaseTable.freeSlot returns the lowest free slot, whatever was freed before", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 40 }), (picks) => {
      const table = tableOf(6);
      const held = new Set<number>();
      for (const pick of picks) {
        const lowest = [0, 1, 2, 3, 4, 5].find((slot) => !held.has(slot)) ?? -1;
        assert.equal(table.freeSlot(), lowest);
        if (pick % 3 > 0 && lowest >= 0) {
          table.taken(lowest, target(1), 0);
          held.add(lowest);
        } else if (held.size > 0) {
          const slot = [...held][pick % held.size]!;
          claim(table.words, slot);
          returned(table.words, slot);
          table.tagged(slot);
          table.free(slot, 0);
          held.delete(slot);
        }
      }
    }),
  );
});
