import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Interval, IntervalTree } from "../../dist/protocol/ranges/interval-tree.js";
import { overlaps, type Range } from "../../dist/protocol/ranges/ranges.js";

interface Entry {
  readonly handle: Interval;
  readonly range: Range;
  readonly value: number;
}

// Few addresses, so that ranges touch, contain and equal each other; some are empty.
const ranges = fc.tuple(fc.nat(30), fc.nat(12)).map(([start, bytes]) => ({ start, end: start + bytes }));
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("insert" as const), range: ranges }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("remove" as const), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("ask" as const), range: ranges }) },
  ),
  { maxLength: 120, size: "max" },
);

test("IntervalTree finds the same intervals as a list, by start and then by age", () => {
  fc.assert(
    fc.property(steps, (list) => {
      const tree = new IntervalTree<number>();
      const entries: Entry[] = [];
      let next = 0;
      for (const step of list) {
        if (step.do === "insert") {
          const value = next++;
          entries.push({ handle: tree.insert(step.range, value), range: step.range, value });
        } else if (step.do === "remove" && entries.length > 0) {
          const [gone] = entries.splice(step.pick % entries.length, 1);
          assert.equal(tree.remove(gone!.handle), true);
          assert.equal(tree.remove(gone!.handle), false);
        } else if (step.do === "ask") {
          const hits = entries.filter(({ range }) => overlaps(range, step.range));
          hits.sort((a, b) => a.range.start - b.range.start || a.value - b.value);
          assert.deepEqual(
            tree.overlapping(step.range),
            hits.map(({ value }) => value),
          );
          assert.equal(tree.overlapsAny(step.range), hits.length > 0);
        }
        assert.equal(tree.size, entries.length);
      }
    }),
    { numRuns: 300 },
  );
});

test("IntervalTree.insert returns a handle of its own, not the caller's object", () => {
  const tree = new IntervalTree<string>();
  const range = { start: 1, end: 2 };
  const handle = tree.insert(range, "a");
  assert.deepEqual({ start: handle.start, end: handle.end }, range);
  assert.notEqual(handle, range);
});

test("IntervalTree stays shallow when intervals come and go in order", () => {
  const tree = new IntervalTree<number>();
  const handles: Interval[] = [];
  // A tree that leans to one side would need as many frames of the stack.
  for (let i = 0; i < 50_000; i++) handles.push(tree.insert({ start: i, end: i + 2 }, i));
  assert.deepEqual(tree.overlapping({ start: 25_000, end: 25_001 }), [24_999, 25_000]);
  for (const handle of handles.splice(0, 49_000)) tree.remove(handle);
  assert.deepEqual(tree.overlapping({ start: 0, end: 49_002 }), [49_000, 49_001]);
  assert.equal(tree.overlapsAny({ start: 0, end: 49_000 }), false);
});

test("IntervalTree.overlapsAny finds a long range that begins far to the left", () => {
  const tree = new IntervalTree<number>();
  for (let i = 0; i < 64; i++) tree.insert({ start: i, end: i + 1 }, i);
  const long = tree.insert({ start: 3, end: 1000 }, -1);
  assert.equal(tree.overlapsAny({ start: 900, end: 901 }), true);
  tree.remove(long);
  assert.equal(tree.overlapsAny({ start: 900, end: 901 }), false);
});
