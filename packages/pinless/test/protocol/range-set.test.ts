import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RangeSet } from "../../dist/protocol/ranges/range-set.js";
import type { Range } from "../../dist/protocol/ranges/ranges.js";

const SIZE = 40;
const range = fc.tuple(fc.nat(SIZE), fc.nat(12)).map(([start, bytes]) => ({ start, end: start + bytes }));
const steps = fc.array(fc.record({ add: fc.boolean(), range }), { maxLength: 30 });

function numbers(ranges: readonly Range[]): number[] {
  return ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
}

test("RangeSet agrees with a set of numbers, and has the minimum number of ranges", () => {
  fc.assert(
    fc.property(steps, range, (list, asked) => {
      const set = new RangeSet();
      const model = new Set<number>();
      for (const step of list) {
        if (step.add) set.add(step.range);
        else set.remove(step.range);
        for (const n of numbers([step.range])) {
          if (step.add) model.add(n);
          else model.delete(n);
        }
        assert.deepEqual(
          numbers(set.ranges),
          [...model].sort((a, b) => a - b),
        );
        set.ranges.forEach((r, i) => {
          assert.ok(r.start < r.end && (i === 0 || set.ranges[i - 1]!.end < r.start), JSON.stringify(set.ranges));
        });
      }
      const inside = numbers([asked]).filter((n) => model.has(n));
      const outside = numbers([asked]).filter((n) => !model.has(n));
      assert.deepEqual(numbers(set.within(asked)), inside);
      assert.deepEqual(numbers(set.outside(asked)), outside);
      assert.equal(set.meets(asked), inside.length > 0);
      if (asked.start < asked.end) assert.equal(set.covers(asked), outside.length === 0);
    }),
    { numRuns: 2000 },
  );
});
