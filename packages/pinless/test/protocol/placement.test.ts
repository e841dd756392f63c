import assert from "node:assert/strict";
import { test } from "node:test";
import { Placement } from "../../dist/protocol/placement.js";

const PAGES = Array.from({ length: 32 }, (_, i) => i * 4096);

/** A kernel with a given number of pages out of place, and the policy that asks it. */
function setUp(startMs = 1000) {
  const state = { elsewhere: 0, looks: 0, nowMs: startMs };
  const placement = new Placement((pages) => {
    assert.equal(pages, PAGES);
    state.looks++;
    return state.elsewhere;
  });
  const pass = (ms: number): void => {
    state.nowMs = (state.nowMs + ms) | 0;
  };
  const isWrong = (): boolean => placement.isWrong(state.nowMs, () => PAGES);
  const isSettled = (): boolean => placement.isSettled(state.nowMs);
  /** Milliseconds until a question that is asked at every one is answered with yes. */
  const until = (question: () => boolean): number => {
    let waited = 0;
    for (; !question(); waited++) {
      assert.ok(waited < 4_000_000, "it's never answered with yes");
      pass(1);
    }
    return waited;
  };
  return { state, placement, pass, isWrong, isSettled, until };
}

test("Placement gives leases up where a sixteenth of their pages is on another node, and looks once a second", () => {
  const { state, placement, pass, isWrong } = setUp();
  state.elsewhere = 1;
  assert.equal(isWrong(), false);
  state.elsewhere = 2;
  pass(999);
  assert.equal(isWrong(), false);
  assert.equal(state.looks, 1);
  assert.equal(placement.isAwaited, false);
  pass(1);
  assert.equal(isWrong(), true);
  assert.equal(placement.isAwaited, true);
});

test("Placement never gives up leases in their place, nor memory without a lease", () => {
  const { isWrong, pass } = setUp();
  for (let second = 0; second < 100; second++, pass(1000)) assert.equal(isWrong(), false);
  const none = new Placement((pages) => pages.length);
  assert.equal(
    none.isWrong(0, () => []),
    false,
  );
});

test("Placement is settled when the kernel has moved the pages, however slowly, also across the clock's wrap", () => {
  const { state, placement, isWrong, isSettled, until } = setUp(0x7fffffff - 100_000);
  state.elsewhere = 32;
  assert.equal(isWrong(), true);
  const looks = state.looks;
  const startMs = state.nowMs;
  const waited = until(() => {
    state.elsewhere = 32 - Math.floor(((state.nowMs - startMs) | 0) / 60_000);
    return isSettled();
  });
  assert.equal(waited, 31 * 60_000, "the last page isn't waited for");
  assert.equal(state.looks - looks, 4 * 31 * 60);
  assert.equal(placement.isAwaited, false);
});

test("Placement is settled when the kernel has moved nothing for 64 s, and leases stay for 16 times as long", () => {
  const { state, isWrong, isSettled, until } = setUp();
  state.elsewhere = 32;
  assert.equal(isWrong(), true);
  assert.equal(until(isSettled), 64_000);
  assert.equal(until(isWrong), 1_024_000);
  let ms = 0;
  const moved = until(() => {
    // Two pages go to and fro.
    state.elsewhere = 30 + (ms++ & 2);
    return isSettled();
  });
  assert.equal(moved, 64_500, "the look at 500 ms was the last to find fewer");
});
