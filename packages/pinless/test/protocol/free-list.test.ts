import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FreeList } from "../../dist/protocol/ranges/free-list.js";

const BOUNDARY = 16;

interface Piece {
  readonly start: number;
  readonly bytes: number;
}

/** First fit, address by address. */
function firstFit(taken: readonly Piece[], size: number, bytes: number, align: number): number {
  for (let start = 0; start + bytes <= size; start += align) {
    const straddles = Math.floor(start / BOUNDARY) !== Math.floor((start + bytes - 1) / BOUNDARY);
    if (bytes <= BOUNDARY && straddles) continue;
    if (taken.every((piece) => piece.start + piece.bytes <= start || start + bytes <= piece.start)) return start;
  }
  return -1;
}

const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant("allocate" as const),
        bytes: fc.oneof(fc.integer({ min: 1, max: BOUNDARY }), fc.integer({ min: 1, max: 3 * BOUNDARY })),
        align: fc.constantFrom(1, 2, 4, 8),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("free" as const), pick: fc.nat() }) },
  ),
  { maxLength: 80, size: "max" },
);

test("FreeList.allocate returns the lowest piece that fits, and none across a boundary if it's avoidable", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 * BOUNDARY }), steps, (size, list) => {
      const free = new FreeList(size, BOUNDARY);
      const taken: Piece[] = [];
      for (const step of list) {
        if (step.do === "allocate") {
          const start = free.allocate(step.bytes, step.align);
          assert.equal(start, firstFit(taken, size, step.bytes, step.align));
          if (start < 0) continue;
          assert.equal(free.allocatedAt(start), step.bytes);
          taken.push({ start, bytes: step.bytes });
        } else if (taken.length > 0) {
          const [{ start, bytes }] = taken.splice(step.pick % taken.length, 1) as [Piece];
          free.retire(start);
          assert.equal(free.allocatedAt(start), undefined);
          free.release(start, bytes);
        }
      }
      for (const { start, bytes } of taken) {
        free.retire(start);
        free.release(start, bytes);
      }
      assert.equal(free.allocate(size, 1), size <= BOUNDARY || size > 0 ? 0 : -1, "all of it is one piece again");
    }),
    { numRuns: 300 },
  );
});

test("FreeList.retire keeps the memory taken until release", () => {
  const free = new FreeList(BOUNDARY, BOUNDARY);
  assert.equal(free.allocate(BOUNDARY, 1), 0);
  free.retire(0);
  assert.equal(free.allocate(1, 1), -1);
  free.release(0, BOUNDARY);
  assert.equal(free.allocate(1, 1), 0);
});

test("FreeList.release joins with the free pieces on both sides", () => {
  const free = new FreeList(48, 16);
  const [a, b, c] = [free.allocate(16, 1), free.allocate(16, 1), free.allocate(16, 1)];
  for (const start of [a, c, b]) {
    free.retire(start);
    free.release(start, 16);
  }
  assert.equal(free.allocate(48, 1), 0);
});

test("FreeList.allocatedAt finds only a piece that begins there", () => {
  const free = new FreeList(64, 16);
  assert.equal(free.allocate(8, 1), 0);
  assert.equal(free.allocatedAt(4), undefined);
  assert.equal(free.allocatedAt(8), undefined);
});

test("FreeList.withdraw removes the free bytes between two addresses for good, and no others", () => {
  const list = new FreeList(4 * BOUNDARY, BOUNDARY);
  assert.equal(list.allocate(8, 1), 0);
  list.withdraw(4, 20);
  // The allocation is freed, except for the part that was withdrawn.
  list.retire(0);
  list.release(0, 4);
  const starts = [4, 12, 16, 16].map((bytes) => list.allocate(bytes, 1));
  assert.deepEqual(starts, [0, 20, 32, 48]);
  assert.equal(list.allocate(1, 1), -1);
});
