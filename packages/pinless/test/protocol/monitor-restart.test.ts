// A monitor that has ended, and the next one: they share the drain word, which outlives both.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MonitorClients } from "../../dist/protocol/monitor/clients.js";
import { LeaseClock } from "../../dist/protocol/monitor/lease-clock.js";
import { DRAIN, drainWord, type MonitorReport } from "../../dist/protocol/monitor/messages.js";
import { MonitorMachine } from "../../dist/protocol/monitor/state-machine.js";

const RANGE = { start: 2 ** 33, end: 2 ** 33 + 65536 };
const CALLER = { tid: 3, kind: "remove", ranges: [RANGE], call: "madvise" } as const;

/** A monitor that has asked for a start, and waits for its answer; returns its message. */
function asking(drain: Int32Array): MonitorReport & { kind: "start" } {
  const posted: MonitorReport[] = [];
  const monitor = new MonitorMachine({
    drain,
    reading: new Int32Array(new SharedArrayBuffer(4)),
    ownTid: 1,
    ourTids: new Int32Array(1),
    threads: { callers: () => [CALLER], callOf: () => null, waitsForReader: () => null, cpuMs: () => 0 },
    leases: new LeaseClock(),
    nowMs: () => 0,
    next: () => null,
    post: (report) => void posted.push(report),
  });
  const words = new Int32Array(new SharedArrayBuffer(4096));
  monitor.segments.add({ id: 0, range: RANGE, chunkBytes: 65536, words, watched: -1 });
  monitor.readable();
  for (let wait = monitor.step(); wait?.whileWord == null; wait = monitor.step())
    assert.ok(wait, "it asks for a start");
  const [start] = posted;
  assert.ok(start?.kind === "start");
  return start;
}

test("a start of an ended monitor, and its answer, aren't taken for those of the next one", () => {
  const drain = new Int32Array(new SharedArrayBuffer(4));
  const begun = new Set<number>();
  const started: number[] = [];
  const clients = new MonitorClients(drain, new Int32Array(1), () => {});
  const calls = {
    start: (id: number) => {
      started.push(id);
      return "draining" as const;
    },
    isBegun: (id: number) => begun.has(id),
    end() {},
    concluded() {},
    unmapped() {},
  };
  clients.add({ calls, lost() {} });

  // The second monitor asks while what the first had asked for is still being drained.
  const first = asking(drain);
  clients.obey(first);
  const second = asking(drain);
  clients.obey(second);
  assert.deepEqual(started, [first.id, second.id]);
  begun.add(first.id);
  clients.ready(first.id);
  assert.equal(drain[0], drainWord(second.id, DRAIN.DRAINING), "the first one's answer was taken for the second's");

  // The third monitor asks before the second one's last question has arrived.
  const third = asking(drain);
  clients.obey(second);
  assert.equal(drain[0], drainWord(third.id, DRAIN.ASKED), "an ended monitor's question was answered");
  begun.add(third.id);
  clients.obey(third);
  assert.equal(drain[0], drainWord(third.id, DRAIN.BEGUN));
});
