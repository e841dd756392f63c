// The supervisor of the monitor, with threads and a loop that the test controls.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MonitorPort, MonitorSupervisor } from "../../dist/events/monitor-supervisor.js";
import { ChunkTable } from "../../dist/protocol/chunk-table.js";
import type { ForeignCalls } from "../../dist/protocol/foreign-calls.js";
import { MonitorClients } from "../../dist/protocol/monitor/clients.js";

const ignored = (): void => {};

/** A supervisor of threads that answer and end when the test says so. */
function supervised() {
  const periods = new Set<() => void>();
  const now = { answer: (_errno: number): void => {}, gone: ignored, ends: 0 };
  const supervisor = new MonitorSupervisor<MonitorPort>({
    start: () => ({
      clients: new MonitorClients(new Int32Array(1), new Int32Array(1), ignored),
      send: ignored,
      ask: () => new Promise((resolve) => (now.answer = resolve)),
      end: () => {
        now.ends++;
        return new Promise((resolve) => (now.gone = resolve));
      },
    }),
    loop: {
      preciseMs: () => 0,
      every: (_ms, run) => {
        periods.add(run);
        return () => periods.delete(run);
      },
    },
    endsIdle: true,
    explain: String,
  });
  const period = (): void => {
    for (const run of periods) run();
  };
  return { supervisor, period, now };
}

test("A thread whose first answer is awaited isn't idle: it isn't ended before the segment is followed", async () => {
  const { supervisor, period, now } = supervised();
  const follower = supervisor.openFollower({} as ForeignCalls, ignored);
  const table = new ChunkTable({ start: 2 ** 33, end: 2 ** 33 + 65536 }, 65536);
  const followed = follower.follow(table, null);
  period();
  assert.equal(now.ends, 0, "ended while it was asked");
  now.answer(0);
  assert.equal(await followed, "");
  period();
  assert.equal(now.ends, 0, "ended while it follows");
  const unfollowed = follower.unfollow(table);
  now.answer(0);
  await unfollowed;
  period();
  assert.equal(now.ends, 1, "kept although it's idle");
});

test("The end of the monitor waits for a thread that is being ended already, because it was idle", async () => {
  const { supervisor, period, now } = supervised();
  supervisor.running();
  period();
  assert.equal(now.ends, 1);
  let ended = false;
  const ending = supervisor.end().then(() => {
    ended = true;
  });
  await new Promise(setImmediate);
  assert.equal(ended, false, "it's still there");
  now.gone();
  await ending;
});
