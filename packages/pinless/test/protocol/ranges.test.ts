import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  alignDown,
  alignOut,
  alignUp,
  contains,
  intersect,
  isPowerOfTwo,
  overlaps,
  type Range,
  without,
} from "../../dist/protocol/ranges/ranges.js";

const small = fc.tuple(fc.nat(20), fc.nat(8)).map(([start, bytes]) => ({ start, end: start + bytes }));
const address = fc.maxSafeNat().map((n) => n % 2 ** 47);
const unit = fc.integer({ min: 0, max: 30 }).map((n) => 2 ** n);

/** The addresses of a range, one by one. */
function members({ start, end }: Range): number[] {
  return Array.from({ length: Math.max(0, end - start) }, (_, i) => start + i);
}

test("overlaps, contains and intersect agree with the sets of addresses", () => {
  fc.assert(
    fc.property(small, small, (a, b) => {
      const common = members(a).filter((n) => members(b).includes(n));
      const { start, end } = intersect(a, b);
      assert.deepEqual(members({ start, end }), common);
      assert.ok(end >= start);
      if (members(a).length > 0 && members(b).length > 0) assert.equal(overlaps(a, b), common.length > 0);
      if (members(b).length > 0) assert.equal(contains(a, b), common.length === members(b).length);
    }),
  );
});

test("overlaps is false for ranges that only touch", () => {
  assert.equal(overlaps({ start: 0, end: 4 }, { start: 4, end: 8 }), false);
  assert.equal(overlaps({ start: 4, end: 8 }, { start: 0, end: 4 }), false);
});

test("alignDown and alignUp are exact for 47-bit addresses", () => {
  fc.assert(
    fc.property(address, unit, (value, of) => {
      const down = (BigInt(value) / BigInt(of)) * BigInt(of);
      assert.equal(BigInt(alignDown(value, of)), down);
      assert.equal(BigInt(alignUp(value, of)), down === BigInt(value) ? down : down + BigInt(of));
    }),
  );
});

test("alignOut gives the smallest range of whole units around a range", () => {
  fc.assert(
    fc.property(address, fc.nat(2 ** 31), unit, (start, bytes, of) => {
      const inner = { start, end: start + bytes };
      const outer = alignOut(inner, of);
      assert.ok(contains(outer, inner));
      assert.equal(outer.start % of, 0);
      assert.equal(outer.end % of, 0);
      assert.ok(inner.start - outer.start < of && outer.end - inner.end < of);
    }),
  );
});

test("isPowerOfTwo is true for 2^0 to 2^52 and nothing else", () => {
  for (let n = 0; n <= 52; n++) {
    assert.equal(isPowerOfTwo(2 ** n), true, `2^${n}`);
    if (n > 1) assert.equal(isPowerOfTwo(2 ** n - 1), false, `2^${n} - 1`);
    if (n > 0) assert.equal(isPowerOfTwo(2 ** n + 1), false, `2^${n} + 1`);
  }
  for (const value of [0, -1, -2, 0.5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "4" as unknown as number]) {
    assert.equal(isPowerOfTwo(value), false, String(value));
  }
});

test("without agrees with the sets of addresses, and returns ordered pieces that don't touch", () => {
  fc.assert(
    fc.property(small, fc.array(small, { maxLength: 4 }), (whole, parts) => {
      const left = without(whole, parts);
      const gone = new Set(parts.flatMap(members));
      const expected = members(whole).filter((a) => !gone.has(a));
      assert.deepEqual(left.flatMap(members), expected);
    }),
  );
});
