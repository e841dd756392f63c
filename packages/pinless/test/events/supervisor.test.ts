// The supervisor of the monitor, with threads and a loop that the test controls.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type MonitorPort, MonitorSupervisor } from "../../dist/events/monitor-supervisor.js";
import { ChunkTable } from "../../dist/protocol/chunk-table.js";
import type { ForeignCalls } from "../../dist/protocol/foreign-calls.js";
import { MonitorClients } from "../../dist/protocol/monitor/clients.js";

const ignored = (): void => {};

test("A thread whose first answer is awaited isn't idle: it isn't ended before the segment is followed", async () => {
  let answer = (_errno: number): void => {};
  let ends = 0;
  const periods = new Set<() => void>();
  const supervisor = new MonitorSupervisor<MonitorPort>({
    start: () => ({
      clients: new MonitorClients(new Int32Array(1), new Int32Array(1), ignored),
      send: ignored,
      ask: () => new Promise((resolve) => (answer = resolve)),
      end: async () => void ends++,
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
  const follower = supervisor.openFollower({} as ForeignCalls, ignored);
  const table = new ChunkTable({ start: 2 ** 33, end: 2 ** 33 + 65536 }, 65536);
  const followed = follower.follow(table, null);
  period();
  assert.equal(ends, 0, "ended while it was asked");
  answer(0);
  assert.equal(await followed, "");
  period();
  assert.equal(ends, 0, "ended while it follows");
  const unfollowed = follower.unfollow(table);
  answer(0);
  await unfollowed;
  period();
  assert.equal(ends, 1, "kept although it's idle");
});
