import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type EngineOptions, settingsOf } from "../../dist/ports/options.js";
import { PinlessError } from "../../dist/protocol/errors.js";
import { MAX_SLOTS } from "../../dist/protocol/lease-table.js";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

function refuses(options: unknown, option: string): void {
  assert.throws(
    () => settingsOf(options as EngineOptions, 8 * MIB),
    (error) => {
      assert.ok(error instanceof PinlessError);
      assert.equal(error.code, "ERR_PINLESS_OPTION");
      assert.match(error.message, new RegExp(`^option ${option.replace(".", "\\.")} is .+; it takes .+`));
      return true;
    },
    `${option} is taken`,
  );
}

test("settingsOf without options gives the defaults", () => {
  assert.deepEqual(settingsOf({}, 8 * MIB), {
    scheme: "auto",
    pin: "lease",
    depth: 128,
    chunkBytes: 2 * MIB,
    largestChunkBytes: 2 * MIB,
    idleMs: 50,
    maxMs: 1000,
    maxGrows: true,
    budgetBytes: 4 * MIB,
    slots: 2,
    remarks: [],
    userfaultfd: true,
    pressure: "default",
    trace: null,
  });
});

test("settingsOf accepts every scheme and pin mode", () => {
  for (const scheme of ["auto", "io_uring", "aio", "direct"] as const)
    assert.equal(settingsOf({ scheme }, 0).scheme, scheme);
  for (const pin of ["lease", "lifetime", "per-io"] as const) assert.equal(settingsOf({ pin }, 0).pin, pin);
});

test("settingsOf follows other code's calls, except if the option is false, or for the baseline", () => {
  assert.equal(settingsOf({ events: { userfaultfd: false } }, 0).userfaultfd, false);
  assert.equal(settingsOf({ pin: "per-io", events: {} }, 0).userfaultfd, true);
  assert.equal(settingsOf({ pin: "lifetime", events: { userfaultfd: true } }, 0).userfaultfd, false);
});

test("settingsOf refuses invalid values, and says what the option takes", () => {
  for (const scheme of ["uring", "", null, 1]) refuses({ scheme }, "scheme");
  for (const pin of ["leases", null, true]) refuses({ pin }, "pin");
  for (const trace of ["", null, 5, {}]) refuses({ trace }, "trace");
  for (const depth of [0, -1, 4097, 1.5, Number.NaN, "128", 128n]) refuses({ depth }, "depth");
  for (const chunk of [0, 32 * KIB, 4 * MIB, 65537, "65536", Number.NaN]) refuses({ lease: { chunk } }, "lease.chunk");
  for (const clock of [0, -1, 3_600_001, Number.NaN, "50"]) {
    refuses({ lease: { idle: clock } }, "lease.idle");
    refuses({ lease: { max: clock } }, "lease.max");
  }
  for (const userfaultfd of [1, "on", null]) refuses({ events: { userfaultfd } }, "events.userfaultfd");
  for (const budget of [0, 64 * KIB - 1, Number.NaN, "65536", -1]) {
    refuses({ lease: { chunk: 64 * KIB, budget } }, "lease.budget");
  }
  for (const pressure of [0, "yes", null]) refuses({ events: { pressure } }, "events.pressure");
});

test("settingsOf distinguishes pressure that was asked for from the default", () => {
  assert.equal(settingsOf({ events: {} }, 0).pressure, "default");
  assert.equal(settingsOf({ events: { pressure: true } }, 0).pressure, "asked");
  assert.equal(settingsOf({ events: { pressure: false } }, 0).pressure, "off");
});

test("settingsOf accepts the limits of every range", () => {
  for (const depth of [1, 4096]) assert.equal(settingsOf({ depth }, 0).depth, depth);
  for (const chunk of [64 * KIB, 2 * MIB]) assert.equal(settingsOf({ lease: { chunk } }, 0).chunkBytes, chunk);
  for (const clock of [1, 3_600_000]) {
    assert.equal(settingsOf({ lease: { idle: clock } }, 0).idleMs, clock);
    assert.equal(settingsOf({ lease: { max: clock } }, 0).maxMs, clock);
  }
  assert.equal(settingsOf({ lease: { budget: 2 * MIB } }, 0).budgetBytes, 2 * MIB);
});

test("settingsOf's budget: at most half of RLIMIT_MEMLOCK, half of memory and 8 GiB, at least a chunk", () => {
  const lots = Number.POSITIVE_INFINITY;
  assert.equal(settingsOf({}, 0).budgetBytes, 2 * MIB);
  assert.equal(settingsOf({}, 64 * MIB).budgetBytes, 32 * MIB);
  assert.equal(settingsOf({}, lots).budgetBytes, 8 * GIB);
  assert.equal(settingsOf({}, lots, 100 * MIB).budgetBytes, 50 * MIB);
  assert.equal(settingsOf({}, lots, 24 * GIB).budgetBytes, 8 * GIB);
  assert.equal(settingsOf({}, lots, MIB).budgetBytes, 2 * MIB);
  assert.equal(settingsOf({}, 8 * MIB, 100 * MIB).budgetBytes, 4 * MIB);
  assert.equal(settingsOf({ lease: { chunk: 64 * KIB } }, 64 * KIB).budgetBytes, 64 * KIB);
});

test("settingsOf refuses an impossible budget with the maximum, and remarks on other limits", () => {
  const lots = Number.POSITIVE_INFINITY;
  const refused = (budget: number, memoryBytes: number, most: number): void =>
    assert.throws(() => settingsOf({ lease: { budget } }, lots, memoryBytes), {
      code: "ERR_PINLESS_OPTION",
      message: new RegExp(`option lease.budget is ${budget}; .* at most ${most} `),
    });
  refused(2 ** 40, lots, 8 * GIB);
  refused(8 * GIB + 1, 24 * GIB, 8 * GIB);
  refused(2 * GIB, GIB, GIB);
  assert.deepEqual(settingsOf({ lease: { budget: 8 * GIB } }, lots, 24 * GIB).remarks, []);
  const [memlock, ...more] = settingsOf({ lease: { budget: 64 * MIB } }, 8 * MIB).remarks;
  assert.match(memlock!, /lease.budget is 67108864 bytes, and RLIMIT_MEMLOCK allows 8388608/);
  assert.deepEqual(more, []);
  const [slots] = settingsOf({ lease: { budget: GIB, chunk: 64 * KIB } }, lots).remarks;
  assert.match(slots!, /1024 leases of lease.chunk \(65536\) are 67108864/);
});

test("settingsOf allows larger chunks in large arenas if the budget holds several, unless lease.chunk is given", () => {
  for (const [budget, largest] of [
    [4 * MIB, 2 * MIB],
    [31 * MIB, 2 * MIB],
    [32 * MIB, 4 * MIB],
    [128 * MIB, 16 * MIB],
    [8 * GIB, 16 * MIB],
  ] as const) {
    const { chunkBytes, largestChunkBytes } = settingsOf({ lease: { budget } }, Number.POSITIVE_INFINITY);
    assert.deepEqual([chunkBytes, largestChunkBytes], [2 * MIB, largest], `${budget}`);
  }
  const asked = settingsOf({ lease: { chunk: 2 * MIB } }, Number.POSITIVE_INFINITY);
  assert.equal(asked.largestChunkBytes, 2 * MIB);
});

test("settingsOf's slots suffice for the leases of the budget, at most 1,024", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 34 }),
      fc.constantFrom(64 * KIB, 256 * KIB, 2 * MIB),
      (locked, chunk) => {
        const { slots, budgetBytes } = settingsOf({ lease: { chunk } }, locked);
        assert.ok(Number.isInteger(slots) && slots >= 1 && slots <= MAX_SLOTS);
        assert.ok(slots === MAX_SLOTS || slots === Math.floor(budgetBytes / chunk));
      },
    ),
  );
});

test("settingsOf lets max grow only by default", () => {
  assert.equal(settingsOf({}, 0).maxGrows, true);
  assert.equal(settingsOf({ lease: { max: 1000 } }, 0).maxGrows, false);
});
