// The time for which memory operations are tried again, over a made-up clock.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runBlocking } from "../../dist/memory/linux-memory-kernel.js";
import { persistently } from "../../dist/memory/retry.js";
import { at, VirtualPatience } from "./virtual-patience.js";

const [EAGAIN, EINVAL] = [11, 22];

/** Tries a call that takes 100 ms until it doesn't return EAGAIN: its result, and the number of tries. */
function tried(answer: (tries: number) => number): { result: number; tries: number } {
  const clock = new VirtualPatience();
  let tries = 0;
  const operate = () => {
    clock.now += 100;
    return at(answer(++tries));
  };
  return { result: runBlocking(persistently(clock, operate)), tries };
}

test("persistently retries after 20 ms in which this thread wasn't scheduled", () => {
  assert.deepEqual(
    tried((tries) => (tries < 6 ? -EAGAIN : 0)),
    { result: 0, tries: 6 },
  );
});

test("persistently gives up after a number of attempts and a time, and at once for an errno that won't pass", () => {
  assert.deepEqual(
    tried(() => -EAGAIN),
    { result: -EAGAIN, tries: 7 },
  );
  assert.deepEqual(
    tried(() => -EINVAL),
    { result: -EINVAL, tries: 1 },
  );
});
