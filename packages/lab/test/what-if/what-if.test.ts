// Three designs on a machine that isn't there: the same is the same, more is more, and what each design promises is so.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NamedRandom } from "../../dist/model/random.js";
import { DESIGNS, type DesignName } from "../../dist/what-if/designs.js";
import { exponential, meanOf } from "../../dist/what-if/distributions.js";
import { Times } from "../../dist/what-if/latency-histogram.js";
import { type Plan, planWith } from "../../dist/what-if/plan.js";
import { simulateDesign } from "../../dist/what-if/run-design.js";
import type { Figures } from "../../dist/what-if/what-if-figures.js";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
type Changes = Parameters<typeof planWith>[0];

const SMALL: Changes = {
  machine: { bytes: 4 * GIB, nodes: 2 },
  buffers: { bytes: GIB, activeBytes: 32 * MIB },
  run: { seconds: 0.1 },
};

function figures(design: DesignName, changes: Changes, seed = 1): Figures {
  const merged = Object.fromEntries(
    [...new Set([...Object.keys(SMALL), ...Object.keys(changes)])].map((section) => {
      const key = section as keyof Plan;
      return [key, { ...SMALL[key], ...changes[key] }];
    }),
  );
  return simulateDesign(planWith(merged), design, seed);
}

const EVENTS = { compaction: 300, numaBalancing: 100, khugepaged: 50, reclaim: 100, discard: 100, move: 100, fork: 10 };

for (const design of DESIGNS)
  test(`${design}: the same plan and seed give the same figures, another seed others`, () => {
    const once = figures(design, { events: EVENTS });
    assert.deepEqual(figures(design, { events: EVENTS }), once);
    assert.notDeepEqual(figures(design, { events: EVENTS }, 2), once);
  });

test("without events nothing is refused, waits or is validated again, and leases cost as much as registrations", () => {
  const found = DESIGNS.map((design) =>
    figures(design, { buffers: { pages: "huge", bytes: GIB, activeBytes: 32 * MIB } }),
  );
  for (const { operations, blocked, revalidations, readsLost } of found) {
    assert.deepEqual(operations, {});
    assert.equal(blocked.count + revalidations + readsLost, 0);
  }
  const [gup, , pinless] = found;
  assert.ok(pinless!.requests > 0.99 * gup!.requests);
});

test("registered for life: all buffers are immovable, for ever; the others have none at rest", () => {
  const [gup, notifier, pinless] = DESIGNS.map((design) => figures(design, { events: EVENTS }).pinnedPages);
  assert.deepEqual(gup, { mean: GIB / 4096, most: GIB / 4096, atRest: GIB / 4096 });
  assert.deepEqual(notifier, { mean: 0, most: 0, atRest: 0 });
  assert.equal(pinless!.atRest, 0);
  assert.ok(pinless!.most > 0 && pinless!.most <= (32 * MIB) / 4096 + 32);
});

test("pinned for each call: as many pages as are in flight, and none at rest", () => {
  for (const scheme of ["aio", "direct"] as const) {
    const { pinnedPages } = figures("gup", { io: { scheme, requestBytes: 16384 } });
    assert.ok(pinnedPages.most > 0 && pinnedPages.most <= 32 * 4);
    assert.equal(pinnedPages.atRest, 0);
  }
});

test("operations on pinned buffers are refused; the proposal does all of them; announced ones pinless does too", () => {
  const [gup, notifier, pinless] = DESIGNS.map((design) => figures(design, { events: EVENTS }).operations);
  for (const kind of ["numaBalancing", "khugepaged", "move"] as const) {
    assert.ok(gup![kind]!.asked > 0);
    assert.equal(gup![kind]!.refused, gup![kind]!.asked, kind);
    assert.equal(notifier![kind]!.refused, 0, kind);
  }
  assert.equal(pinless!.move!.refused, 0);
  assert.equal(pinless!.discard!.done, pinless!.discard!.asked);
});

test("pinned for each call: refused where a call is in flight, done elsewhere", () => {
  const buffers = { bytes: 64 * MIB, activeBytes: 32 * MIB };
  const { move } = figures("gup", { buffers, io: { scheme: "aio" }, events: { move: 800 } }).operations;
  assert.ok(move!.refused > 0 && move!.done > 0 && move!.refused + move!.done === move!.asked);
});

test("the kernel's own operations can meet leases even if nothing is in flight", () => {
  const { khugepaged } = figures("pinless", {
    buffers: { bytes: 32 * MIB, activeBytes: 32 * MIB },
    io: { depth: 1 },
    events: { khugepaged: 1000 },
  }).operations;
  assert.ok(khugepaged!.refused > khugepaged!.asked / 2);
});

test("the proposal looks up again once for each invalidation, at most", () => {
  const buffers = { bytes: 32 * MIB, activeBytes: 32 * MIB };
  const { revalidations, operations } = figures("notifier", { buffers, events: { move: 300 } });
  assert.ok(revalidations > 0 && revalidations <= operations.move!.done + 1);
});

test("a lease that is dropped under load ends with its last request, and is taken again", () => {
  const buffers = { bytes: 2 * MIB, activeBytes: 2 * MIB, pages: "huge" } as const;
  const device = {
    latencyUs: [
      [0, 200],
      [1, 1800],
    ] as const,
  };
  const { leases, pinnedPages } = figures("pinless", { buffers, device, lease: { maxMs: 1, idleMs: 2 } });
  // 100 ms; one is due after 1, seen within another half, and the slowest of 32 requests takes 1.8 ms more. 67 if it
  // didn't wait for that.
  assert.ok(leases.taken > 25 && leases.taken < 50, `${leases.taken}`);
  assert.equal(leases.givenBack, leases.taken);
  // While it leaves, others go by themselves, beside it.
  assert.ok(pinnedPages.most > 512);
});

test("reads after a discard are lost only with an old registration", () => {
  const [gup, notifier, pinless] = DESIGNS.map((design) =>
    figures(design, { buffers: { bytes: 32 * MIB, activeBytes: 32 * MIB }, events: { discard: 200 } }),
  );
  assert.ok(gup!.readsLost > 0);
  assert.equal(notifier!.readsLost + pinless!.readsLost, 0);
  assert.equal(figures("gup", { io: { scheme: "aio" }, events: { discard: 200 } }).readsLost, 0);
});

test("more events: more is validated again, and waits are longer in all", () => {
  for (const design of ["notifier", "pinless"] as const) {
    const at = (times: number): Figures =>
      figures(design, { buffers: { bytes: 32 * MIB, activeBytes: 32 * MIB }, events: { move: 100, times } });
    const [few, some, many] = [at(0.3), at(3), at(30)];
    assert.ok(few.revalidations < some.revalidations && some.revalidations < many.revalidations);
    assert.ok(few.blocked.sumMs < some.blocked.sumMs && some.blocked.sumMs < many.blocked.sumMs);
    assert.ok(many.requests < few.requests);
  }
});

test("per GiB, a machine of twice the size has twice the events", () => {
  const at = (bytes: number): number =>
    figures("notifier", { machine: { bytes, nodes: 1 }, events: { per: "GiB", revoke: 500 } }).operations.revoke!.asked;
  const ratio = at(8 * GIB) / at(4 * GIB);
  assert.ok(ratio > 1.7 && ratio < 2.3, `${ratio}`);
});

test("writeback: device writes wait in the proposal, copies in pinless, neither with pins; reads never wait", () => {
  const file = { bytes: 32 * MIB, activeBytes: 32 * MIB, backing: "file" } as const;
  const [gup, notifier, pinless] = DESIGNS.map((design) =>
    figures(design, { buffers: file, events: { writeback: 300 } }),
  );
  assert.ok(gup!.unsafeWrites > 0 && gup!.writebackWaits.count === 0);
  for (const { unsafeWrites, writebackWaits } of [notifier!, pinless!]) {
    assert.equal(unsafeWrites, 0);
    assert.ok(writebackWaits.count > 0 && writebackWaits.p50Us > 200);
  }
  const reads = figures("notifier", { buffers: file, events: { writeback: 300 }, io: { writeShare: 1 } });
  assert.equal(reads.writebackWaits.count + reads.blocked.count, 0);
});

test("the type of an event: an event that moves no page invalidates nothing, unless types are ignored", () => {
  const at = (filter: boolean): Figures =>
    figures("notifier", { events: { numaBalancing: 500 }, notifier: { filter } });
  assert.ok(at(true).filtered > 0);
  assert.equal(at(false).filtered, 0);
  assert.ok(at(true).revalidations < at(false).revalidations);
});

test("a fork costs a copy of every pinned page, a page table entry for every other, and little without both", () => {
  const [gup, notifier, pinless] = DESIGNS.map((design) => figures(design, { events: { fork: 30 } }).fork.p50Us);
  assert.ok(gup! > 10 * notifier! && notifier! > 10 * pinless!);
  const apart = figures("gup", { buffers: { bytes: GIB, inherited: false }, events: { fork: 30 } }).fork.p50Us;
  assert.ok(apart < 2 * pinless!);
});

test("huge pages that the machine can still give: fewer the more is pinned", () => {
  const [gup, notifier, pinless] = DESIGNS.map((design) => figures(design, {}).hugePages);
  const share = ({ got, asked }: { got: number; asked: number }): number => got / asked;
  assert.ok(share(gup!.atRest) < share(notifier!.atRest));
  assert.deepEqual(pinless!.atRest, notifier!.atRest);
  assert.ok(share(pinless!.underLoad) <= share(pinless!.atRest));
});

test("a device is as fast as its queue and its link allow, with enough requests in flight", () => {
  const device = {
    latencyUs: [
      [0, 100],
      [1, 100],
    ] as const,
    parallel: 4,
    mibPerSecond: 1e6,
  };
  const near = (found: number, expected: number): void =>
    assert.ok(Math.abs(found / expected - 1) < 0.02, `${found} isn't ${expected}`);
  near(figures("gup", { device, io: { depth: 2 } }).requestsPerSecond, 2 / 102e-6);
  const full = figures("gup", { device, io: { depth: 32 } });
  near(full.requestsPerSecond, 4 / 100e-6);
  near(full.latency.p50Us, 800);
  near(figures("gup", { device: { ...device, mibPerSecond: 100 }, io: { requestBytes: 65536 } }).mibPerSecond, 100);
});

test("two threads have two processors, and requests of a thread wait for its own", () => {
  const inline = { device: { inline: true } };
  const one = figures("gup", inline);
  const two = figures("gup", { ...inline, io: { threads: 2 } });
  assert.ok(Math.abs(two.requestsPerSecond / one.requestsPerSecond - 2) < 0.01);
  assert.ok(Math.abs(two.cpuShare - 1) < 0.01 && Math.abs(one.cpuShare - 1) < 0.01);
});

test("leases: within the budget, dropped after idle and after max, and none without a second use in time", () => {
  const huge = { pages: "huge", bytes: 256 * MIB, activeBytes: 64 * MIB } as const;
  const most = (lease: Partial<Plan["lease"]>): Figures => figures("pinless", { buffers: huge, lease });
  assert.ok(most({}).pinnedPages.most >= (64 * MIB) / 4096);
  assert.ok(most({ budgetBytes: 16 * MIB }).pinnedPages.most <= (16 * MIB) / 4096 + 32);
  const kept = most({}).leases.taken;
  assert.equal(kept, 32);
  const returned = most({ maxMs: 10, idleMs: 10 }).leases;
  assert.ok(returned.taken > 4 * kept, `${returned.taken}`);
  assert.equal(returned.givenBack, returned.taken);
  const slow = {
    latencyUs: [
      [0, 1000],
      [1, 1000],
    ] as const,
  };
  assert.equal(
    figures("pinless", { buffers: huge, device: slow, io: { depth: 1 }, lease: { idleMs: 0.5 } }).leases.taken,
    0,
  );
});

test("leases of small pages stop where the kernel's accounting would become slow: 32 of 512 pages", () => {
  const small = { bytes: 256 * MIB, activeBytes: 256 * MIB };
  const { pinnedPages, leases } = figures("pinless", { buffers: small });
  assert.ok(pinnedPages.most <= 32 * 512 + 32);
  // Beyond them one is exchanged in a millisecond.
  assert.ok(leases.taken > 32 && leases.taken <= 32 + 101, `${leases.taken}`);
});

test("compaction makes room where nothing is pinned, and the pages that it moves keep their contents", () => {
  const events = { compaction: 2000 };
  const spread = { bytes: GIB, activeBytes: 32 * MIB, spreadBytes: 2 * GIB };
  const before = figures("notifier", { buffers: spread }).hugePages.atRest;
  const after = figures("notifier", { buffers: spread, events });
  assert.ok(after.operations.compaction!.done > 0);
  assert.ok(after.hugePages.atRest.got > before.got);
  // As much is free as before.
  assert.ok(Math.abs(after.hugePages.atRest.asked - before.asked) <= 1);
  const pinned = figures("gup", { buffers: spread, events });
  const { refused, done, pagesRefused } = pinned.operations.compaction!;
  assert.ok(refused > 0 && pagesRefused > refused && done < after.operations.compaction!.done);
  assert.ok(pinned.hugePages.atRest.got < after.hugePages.atRest.got);
});

test("khugepaged makes huge pages of memory that isn't pinned, and their leases cost less", () => {
  const buffers = { bytes: 32 * MIB, activeBytes: 32 * MIB };
  const events = { khugepaged: 500 };
  const { operations } = figures("notifier", { buffers, events });
  assert.ok(operations.khugepaged!.done > 0 && operations.khugepaged!.done <= 16);
  assert.equal(figures("gup", { buffers, events }).operations.khugepaged!.done, 0);
  const each = (changes: Changes): number => {
    const { leases } = figures("pinless", { buffers, lease: { idleMs: 10, maxMs: 10 }, ...changes });
    return leases.us / leases.taken;
  };
  assert.ok(each({ buffers: { ...buffers, pages: "huge" } }) < each({}) / 5);
});

test("a request to release all pins: leases are dropped and taken again, lifetime registrations stay", () => {
  const events = { revoke: 100 };
  const [gup, , pinless] = DESIGNS.map((design) => figures(design, { events }));
  assert.equal(gup!.operations.revoke!.refused, gup!.operations.revoke!.asked);
  assert.equal(pinless!.operations.revoke!.refused, 0);
  assert.ok(pinless!.leases.taken >= 16 * pinless!.operations.revoke!.done);
  assert.ok(pinless!.requests < gup!.requests);
});

test("unregistered memory is pinned by each call, in every scheme, and costs more", () => {
  const never = figures("gup", { io: { registered: false } });
  assert.equal(never.pinnedPages.atRest, 0);
  assert.ok(never.cpuUsPerRequest > figures("gup", {}).cpuUsPerRequest + 0.4);
});

test("cold ranges are swapped out and come back; hot ones, and pinned ones, stay", () => {
  const cold = {
    buffers: { bytes: 64 * MIB, activeBytes: 64 * MIB },
    io: { depth: 1 },
    events: { reclaim: 2000, coldMs: 1 },
  };
  const found = figures("pinless", { ...cold, lease: { idleMs: 1 } });
  assert.ok(found.swappedIn > 0 && found.swappedIn <= found.operations.reclaim!.done);
  assert.equal(figures("gup", cold).swappedIn, 0);
  const free = (events: Changes["events"]): number =>
    figures("notifier", { ...cold, buffers: { bytes: GIB, activeBytes: 32 * MIB }, ...(events && { events }) })
      .hugePages.atRest.asked;
  assert.ok(free({ reclaim: 2000 }) > free({}));
  // Nothing is used for longer than the run: what goes had never been used.
  assert.ok(figures("notifier", { ...cold, events: { reclaim: 2000, coldMs: 1000 } }).swappedIn <= 32);
});

test("a machine of 1 TiB takes less than 32 MiB of this one's memory, and says how much", () => {
  const buffers = { bytes: 512 * GIB, activeBytes: GIB };
  const before = process.memoryUsage().arrayBuffers;
  const { simulatedInBytes, pinnedPages, hugePages } = figures("gup", {
    machine: { bytes: 2 ** 40, nodes: 8 },
    buffers,
    events: { compaction: 1000 },
    run: { seconds: 0.01 },
  });
  const taken = process.memoryUsage().arrayBuffers - before;
  assert.equal(pinnedPages.atRest, 2 ** 27);
  assert.ok(hugePages.atRest.asked > 100_000);
  assert.ok(simulatedInBytes > 6 * 2 ** 19 && simulatedInBytes < 32 * MIB, `${simulatedInBytes}`);
  assert.ok(taken < 32 * MIB, `${taken}`);
});

test("waits between events are exponential: their mean is 1, and e^-2 of them are longer than 2", () => {
  const stream = new NamedRandom(7).stream("test");
  const samples = Array.from({ length: 100_000 }, () => exponential(stream));
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
  assert.ok(Math.abs(mean - 1) < 0.01, `${mean}`);
  const long = samples.filter((sample) => sample > 2).length / samples.length;
  assert.ok(Math.abs(long - Math.exp(-2)) < 0.005, `${long}`);
});

test("quantiles of many times are right to 4 %, from nanoseconds to hours", () => {
  for (const unitMs of [1e-5, 1, 3600]) {
    const times = new Times();
    for (let i = 1; i <= 1000; i++) times.record(i * unitMs);
    const { p50Us, p99Us, maxUs, count, sumMs } = times.quantiles();
    const right = (found: number, expected: number): void =>
      assert.ok(Math.abs(found / expected - 1) < 0.04, `${found} isn't ${expected}`);
    right(p50Us, 500 * unitMs * 1000);
    right(p99Us, 990 * unitMs * 1000);
    right(maxUs, 1000 * unitMs * 1000);
    right(sumMs, 500_500 * unitMs);
    assert.equal(count, 1000);
  }
  assert.equal(new Times().quantiles().p99Us, 0);
});

test("the mean of a distribution by quantiles", () => {
  assert.equal(
    meanOf([
      [0, 10],
      [0.5, 20],
      [1, 40],
    ]),
    22.5,
  );
});
