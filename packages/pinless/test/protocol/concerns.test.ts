// The I/O that each event excludes: the table, and the engine's behaviour.
import assert from "node:assert/strict";
import { test } from "node:test";
import { EFAULT } from "../../dist/protocol/errno.js";
import { CONCERNS, type Concern, MMU_EVENTS, type MmuEvent } from "../../dist/protocol/events.js";
import { Plain, type Submitted } from "./world/plain.js";

const TABLE = `
event           | device writes | device reads | lease   | afterwards
UNMAP           | wait          | wait         | dropped | EFAULT
CLEAR           | wait          | wait         | dropped | re-validate
MIGRATE         | wait          | wait         | dropped | re-validate
PROTECTION_VMA  | wait          | go on        | retired | device writes fail
PROTECTION_PAGE | wait          | go on        | dropped | re-validate
SOFT_DIRTY      | wait          | go on        | dropped | re-validate
EXCLUSIVE       | wait          | wait         | kept    | go on
RELEASE         | wait          | wait         | dropped | refused
`;

const FATES = { dropped: "drop", retired: "retire", kept: "keep" } as const;
const AFTERWARDS = {
  EFAULT: "efault",
  "re-validate": "revalidate",
  "device writes fail": "readOnly",
  "go on": "goOn",
  refused: "refuse",
} as const;

function table(): Record<string, Concern> {
  const rows = TABLE.trim().split("\n").slice(1);
  const cells = rows.map((row) => row.split("|").map((cell) => cell.trim()));
  return Object.fromEntries(
    cells.map(([event, deviceWrites, deviceReads, lease, afterwards]) => [
      event,
      {
        deviceWrites: deviceWrites === "wait",
        deviceReads: deviceReads === "wait",
        lease: FATES[lease as keyof typeof FATES],
        afterwards: AFTERWARDS[afterwards as keyof typeof AFTERWARDS],
      },
    ]),
  );
}

test("CONCERNS is the protocol's table, a row for each event", () => {
  assert.deepEqual(CONCERNS, table());
  assert.deepEqual([...MMU_EVENTS].sort(), Object.keys(CONCERNS).sort());
});

/** Chunk 0 has a lease and no I/O; on chunk 1 I/O is in flight, in both directions and per-io. */
function setUp(): { plain: Plain; write: Submitted; read: Submitted } {
  const plain = new Plain();
  plain.lease(0);
  const write = plain.deviceWrite(1);
  plain.loop.now += 100;
  plain.loop.runAll();
  // So that chunk 0 is worth a lease, if it may have one.
  plain.complete(plain.deviceRead(0));
  const read = plain.deviceRead(1);
  plain.loop.runAll();
  assert.deepEqual([plain.where(write), plain.where(read)], ["per-io", "per-io"]);
  return { plain, write, read };
}

/** Lets an invalidation of chunks 0 and 1 begin, whatever it has to wait for. */
function begun(event: MmuEvent): { plain: Plain; end: () => void } {
  const { plain, write, read } = setUp();
  const invalidation = plain.start(event, 0, 2);
  plain.complete(write, read);
  plain.tags();
  assert.equal(invalidation.state, "begun");
  return { plain, end: () => plain.end(invalidation) };
}

for (const event of MMU_EVENTS) {
  const { deviceWrites, deviceReads, lease, afterwards } = CONCERNS[event];

  test(`${event} waits for I/O in flight that it excludes, for leases that it drops, and for nothing else`, () => {
    const { plain, write, read } = setUp();
    const invalidation = plain.start(event, 0, 2);
    plain.loop.runAll();
    const emptied = plain.kernel.pinned[0]!.emptied !== "";
    assert.equal(emptied, lease !== "keep", "the lease");
    const left = new Set<string>();
    if (deviceWrites) left.add("write");
    if (deviceReads) left.add("read");
    if (lease === "drop") left.add("tag");
    // In the order of what it concerns, so that the rest is still in flight when it begins.
    for (const what of [...left]) {
      assert.equal(invalidation.state, "draining", `with ${[...left]} left`);
      if (what === "tag") plain.tags();
      else plain.complete(what === "write" ? write : read);
      left.delete(what);
    }
    assert.equal(invalidation.state, "begun");
    assert.equal(plain.where(read), deviceReads ? "answered" : "per-io");
    assert.equal(plain.kernel.lateTags.length, lease === "retire" ? 1 : 0, "tags that aren't awaited");
    plain.end(invalidation);
    plain.complete();
  });

  test(`${event} holds new I/O that it excludes, and lets other I/O go on without a lease`, () => {
    const { plain, end } = begun(event);
    const [write, read, again] = [plain.deviceWrite(0), plain.deviceRead(0), plain.deviceRead(0)];
    assert.equal(plain.where(write), deviceWrites ? "out" : "per-io");
    for (const request of [read, again]) assert.equal(plain.where(request), deviceReads ? "out" : "per-io");
    assert.equal(plain.gate.heldTotal, Number(deviceWrites) + 2 * Number(deviceReads));
    end();
    plain.complete();
    assert.equal(write.errno, ["efault", "readOnly", "refuse"].includes(afterwards) ? -EFAULT : 0);
    assert.equal(read.errno, ["efault", "refuse"].includes(afterwards) ? -EFAULT : 0);
  });

  test(`${event} leaves the range as its row says: ${afterwards}`, () => {
    const { plain, end } = begun(event);
    end();
    plain.loop.runAll();
    const before = plain.kernel.pinned.length;
    const pairs = [plain.deviceWrite(0), plain.deviceRead(0), plain.deviceWrite(0), plain.deviceRead(0)];
    const went = pairs.map((request) => plain.where(request));
    plain.complete();
    const errnos = pairs.map(({ errno }) => errno);
    const taken = plain.kernel.pinned.length - before;
    switch (afterwards) {
      case "efault":
      case "refuse":
        assert.deepEqual(errnos, [-EFAULT, -EFAULT, -EFAULT, -EFAULT]);
        assert.equal(taken, 0);
        break;
      case "readOnly":
        assert.deepEqual(errnos, [-EFAULT, 0, -EFAULT, 0]);
        assert.deepEqual(went, ["out", "per-io", "out", "per-io"]);
        assert.equal(taken, 0);
        break;
      case "revalidate":
        assert.deepEqual(errnos, [0, 0, 0, 0]);
        assert.deepEqual(went, ["leased", "leased", "leased", "leased"]);
        assert.deepEqual([taken, plain.leases!.revalidated], [1, 1]);
        break;
      case "goOn":
        assert.deepEqual(errnos, [0, 0, 0, 0]);
        assert.deepEqual(went, ["leased", "leased", "leased", "leased"]);
        assert.deepEqual([taken, plain.leases!.revalidated], [0, 0]);
    }
  });

  test(`${event} excludes no I/O outside its range`, () => {
    const { plain, end } = begun(event);
    plain.deviceWrite(2);
    const [write, read] = [plain.deviceWrite(2), plain.deviceRead(2)];
    assert.deepEqual([plain.where(write), plain.where(read)], ["leased", "leased"]);
    const span = plain.deviceWrite(2, { chunks: 2 });
    assert.equal(plain.where(span), "per-io");
    const across = plain.deviceWrite(1, { chunks: 2 });
    assert.equal(plain.where(across), "out", "a part of it is in the range");
    end();
    plain.complete();
    assert.deepEqual([write.errno, read.errno, span.errno], [0, 0, 0]);
  });

  test(`${event} that may not wait is refused because of each thing that it would wait for (BALANCED_VETO)`, () => {
    const busy = {
      write: (plain: Plain) => plain.deviceWrite(1),
      read: (plain: Plain) => plain.deviceRead(1),
      lease: (plain: Plain) => plain.lease(1),
    };
    const waits = { write: deviceWrites, read: deviceReads, lease: lease === "drop" };
    for (const what of ["write", "read", "lease"] as const) {
      const plain = new Plain();
      busy[what](plain);
      plain.loop.runAll();
      const words = plain.table.words.slice();
      const leases = plain.leases!.table.words.slice();
      const range = { start: plain.table.range.start, end: plain.table.range.end };
      const answer = plain.notifier.invalidateRangeStart(range, event, { blockable: false });
      assert.equal(answer === "EAGAIN", waits[what], what);
      if (answer !== "EAGAIN") {
        assert.equal(answer.state, "begun");
        plain.end(answer);
        continue;
      }
      assert.deepEqual(plain.table.words, words);
      assert.deepEqual(plain.leases!.table.words, leases);
      assert.equal(plain.notifier.inProgress, 0);
    }
  });
}
