import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ACCEPTED, FREE, REQUEST_SHIFT, RequestTable, STATE, SUBMITTED } from "../../dist/protocol/request-table.js";

test("RequestTable hands out each slot once until it's released", () => {
  const steps = fc.array(fc.option(fc.nat(), { nil: null }), { maxLength: 100, size: "max" });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), steps, (capacity, list) => {
      const table = new RequestTable(capacity);
      const taken: number[] = [];
      for (const pick of list) {
        if (pick === null) {
          const slot = table.take();
          if (taken.length === capacity) {
            assert.equal(slot, -1);
            continue;
          }
          assert.ok(slot >= 0 && slot < capacity && !taken.includes(slot), `slot ${slot}`);
          assert.equal(table.get(slot, STATE), ACCEPTED);
          taken.push(slot);
        } else if (taken.length > 0) {
          const [slot] = taken.splice(pick % taken.length, 1) as [number];
          table.release(slot);
          assert.equal(table.get(slot, STATE), FREE);
        }
        assert.equal(table.active, taken.length);
      }
    }),
  );
});

test("RequestTable.release refuses a slot without a request (EXACTLY_ONCE)", () => {
  const table = new RequestTable(2);
  const slot = table.take();
  for (const state of [FREE, SUBMITTED]) {
    table.words[(slot << REQUEST_SHIFT) + STATE] = state;
    assert.throws(() => table.release(slot), { invariant: "EXACTLY_ONCE" }, `state ${state}`);
  }
  table.words[(slot << REQUEST_SHIFT) + STATE] = ACCEPTED;
  table.release(slot);
  assert.throws(() => table.release(slot), { invariant: "EXACTLY_ONCE" });
  assert.equal(table.active, 0);
});

test("RequestTable keeps the words of a slot apart from its neighbours'", () => {
  const table = new RequestTable(3);
  const words = 1 << REQUEST_SHIFT;
  for (let i = 0; i < 3 * words; i++) table.words[i] = i;
  for (let slot = 0; slot < 3; slot++) {
    for (let word = 0; word < words; word++) assert.equal(table.get(slot, word), slot * words + word);
  }
});
