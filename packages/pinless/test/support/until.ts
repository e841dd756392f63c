/** Waits for something that another thread, process or the kernel does, with a limit that only a failure reaches. */

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  { limitMs = 60_000, everyMs = 1 }: { limitMs?: number; everyMs?: number } = {},
): Promise<void> {
  const begin = performance.now();
  while (!(await condition())) {
    assert.ok(performance.now() - begin < limitMs, `${what}: not within ${limitMs} ms`);
    await sleep(everyMs);
  }
}
