// How long memory operations go on asking, over a made-up clock.
import assert from "node:assert/strict";
import { test } from "node:test";
import { persistently } from "../../dist/memory/retry.js";

const [EAGAIN, EINVAL] = [11, 22];

test("persistently tries again after 20 ms in which this thread had no processor", () => {
  let now = 0;
  let tries = 0;
  const operate = (): number => {
    now += 100;
    return ++tries < 6 ? -EAGAIN : 0;
  };
  assert.equal(
    persistently(operate, () => now),
    0,
  );
  assert.equal(tries, 6);
});

test("persistently gives up after as many tries as time, and at once where it isn't a matter of patience", () => {
  let now = 0;
  let tries = 0;
  const counted = (result: number) => (): number => {
    now += 100;
    tries++;
    return result;
  };
  assert.equal(
    persistently(counted(-EAGAIN), () => now),
    -EAGAIN,
  );
  assert.equal(tries, 7);
  tries = 0;
  assert.equal(
    persistently(counted(-EINVAL), () => now),
    -EINVAL,
  );
  assert.equal(tries, 1);
});
