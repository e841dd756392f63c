// The limit on registered segments, which applies only where the kernel compares a huge page with all of them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { MMAN } from "../../dist/abi/numbers.js";
import { mmap, munmap } from "../../dist/linux/libc.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { Ring } from "../../dist/linux/ring.js";
import { EFAULT } from "../../dist/protocol/errno.js";
import { MAX_SEGMENTS } from "../../dist/protocol/lease-table.js";
import { Protocol } from "../../dist/protocol/protocol.js";
import type { Loop, Scheme } from "../../dist/protocol/scheme.js";
import { RegisteredBuffers } from "../../dist/schemes/io-uring/registered-buffers.js";
import { ioUringOff } from "../support/io-uring.js";
import { undoing } from "../support/undo.js";

const PAGE = 4096;
/** Larger than any buffer that a kernel takes which compares segments. */
const LARGE_BYTES = (1 << 30) + (2 << 20);

test("a kernel that takes a buffer of more than 1 GiB doesn't compare segments", { skip: ioUringOff() }, async (t) => {
  await loadLibc();
  const ring = Ring.open({ entries: 4 });
  assert.ok(typeof ring === "object", `io_uring_setup: ${String(ring)}`);
  undoing(t, () => ring.close());
  const registered = RegisteredBuffers.open(ring, 1, 0);
  assert.ok(typeof registered === "object", `IORING_REGISTER_BUFFERS2: ${String(registered)}`);
  const flags = MMAN.MAP_PRIVATE | MMAN.MAP_ANONYMOUS | MMAN.MAP_NORESERVE;
  const address = mmap(LARGE_BYTES, MMAN.PROT_READ | MMAN.PROT_WRITE, flags, -1, 0);
  assert.ok(address > 0, `mmap: ${address}`);
  undoing(t, () => void munmap(address, LARGE_BYTES));
  // An ordinary user may be refused for the limit on locked memory, but not for the size.
  assert.equal(registered.comparesSegments, registered.take(0, address, LARGE_BYTES) === -EFAULT);
});

test("Protocol limits the segments of leases only where the kernel compares them", () => {
  for (const comparesSegments of [true, false]) {
    const scheme = { depth: 4, registrations: { slots: 4, comparesSegments } } as unknown as Scheme;
    const leases = { slots: 4, budgetBytes: PAGE, idleMs: 10, maxMs: 100 };
    const protocol = new Protocol({ scheme, loop: {} as unknown as Loop, chunkBytes: PAGE, leases });
    assert.equal(protocol.leases!.table.couldFit(PAGE, MAX_SEGMENTS), true);
    assert.equal(protocol.leases!.table.couldFit(PAGE, MAX_SEGMENTS + 1), !comparesSegments);
  }
});
