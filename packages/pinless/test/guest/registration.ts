// Costs and charges of registering buffers on this kernel: the figures that the lease table's limit on segments, and
// the cost that a lease is compared with, rest on. `npm run bench:registration` runs it here and in a guest.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { MMAN } from "../../dist/abi/numbers.js";
import { madvise, mmap } from "../../dist/linux/libc.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { Ring } from "../../dist/linux/ring.js";
import { RegisteredBuffers } from "../../dist/schemes/io-uring/registered-buffers.js";

const HUGE = 2 << 20;
const GIB = 1 << 30;
const MADV_NOHUGEPAGE = 15;
const SLOTS = 1024;
const TIMES = 9;

await loadLibc();

function memory(bytes: number, hugePages: boolean): number {
  const flags = MMAN.MAP_PRIVATE | MMAN.MAP_ANONYMOUS | MMAN.MAP_NORESERVE;
  const mapped = mmap(bytes + HUGE, MMAN.PROT_READ | MMAN.PROT_WRITE, flags, -1, 0);
  assert.ok(mapped > 0, `mmap: ${mapped}`);
  const start = Math.ceil(mapped / HUGE) * HUGE;
  assert.equal(madvise(start, bytes, hugePages ? MMAN.MADV_HUGEPAGE : MADV_NOHUGEPAGE), 0);
  assert.equal(madvise(start, bytes, MMAN.MADV_POPULATE_WRITE), 0);
  return start;
}

function table(): RegisteredBuffers {
  const ring = Ring.open({ entries: 8, completions: 2048 });
  assert.ok(typeof ring === "object", `io_uring_setup: ${String(ring)}`);
  const registered = RegisteredBuffers.open(ring, SLOTS, 0);
  assert.ok(typeof registered === "object", `IORING_REGISTER_BUFFERS2: ${String(registered)}`);
  return registered;
}

function pinnedKib(): number {
  return Number(/VmPin:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))![1]);
}

/** Median microseconds of taking a registration, and of giving it back. */
function costUs(registered: RegisteredBuffers, address: number, bytes: number): readonly [number, number] {
  const [takes, drops]: [number[], number[]] = [[], []];
  for (let i = 0; i < TIMES; i++) {
    const began = performance.now();
    assert.equal(registered.take(SLOTS - 1, address, bytes), 0);
    const taken = performance.now();
    assert.equal(registered.drop(SLOTS - 1), 0);
    takes.push(taken - began);
    drops.push(performance.now() - taken);
  }
  const median = (times: number[]): number => Math.round(1e4 * times.sort((a, b) => a - b)[TIMES >> 1]!) / 10;
  return [median(takes), median(drops)];
}

test("a huge page's registration beside live ones of small pages", (t) => {
  const registered = table();
  const live = memory(256 * HUGE, false);
  const huge = memory(HUGE, true);
  const small = memory(HUGE, false);
  let taken = 0;
  for (const count of [0, 16, 64, 256]) {
    for (; taken < count; taken++) assert.equal(registered.take(taken, live + taken * HUGE, HUGE), 0);
    const [ofHuge, ofSmall] = [huge, small].map((address) => costUs(registered, address, HUGE).join(" and "));
    t.diagnostic(
      `figure: beside ${count} live ones, µs to take and drop: a huge page ${ofHuge}, 4 KiB pages ${ofSmall}`,
    );
  }
});

test("the largest buffer", (t) => {
  const registered = table();
  const huge = memory(GIB + HUGE, true);
  const answers = [GIB, GIB + HUGE].map((bytes, slot) => registered.take(slot, huge, bytes));
  const above = registered.take(2, 2 ** 64 - HUGE, GIB + HUGE);
  t.diagnostic(`figure: the same beyond the address space: ${above}`);
  t.diagnostic(`figure: answers to a buffer of 1 GiB, and of 1 GiB and 2 MiB: ${answers.join(", ")}`);
});

for (const user of ["root", "an ordinary user"])
  test(`the charge of parts of a huge page, to ${user}`, (t) => {
    if (user !== "root") process.setuid!(65534);
    const [one, other] = [table(), table()];
    const huge = memory(HUGE, true);
    const before = pinnedKib();
    const charged: number[] = [];
    const take = (registered: RegisteredBuffers, slot: number, at: number): void => {
      assert.equal(registered.take(slot, huge + at, 65536), 0);
      charged.push(pinnedKib() - before);
    };
    take(one, 0, 0);
    take(one, 1, 65536);
    take(other, 0, 131072);
    for (const [registered, slot] of [
      [one, 0],
      [one, 1],
      [other, 0],
    ] as const) {
      assert.equal(registered.drop(slot), 0);
      charged.push(pinnedKib() - before);
    }
    t.diagnostic(
      `figure: KiB charged to ${user} after 64 KiB, as much more, as much by another ring, each given back: ${charged}`,
    );
  });
