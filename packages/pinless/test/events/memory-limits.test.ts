// Memory that is left within the limits of memory cgroups, from made-up files.
import assert from "node:assert/strict";
import { test } from "node:test";
import { explainMemoryLimit } from "../../dist/events/memory-limits.js";

const MIB = 1 << 20;
const V2 = "/sys/fs/cgroup";
const V1 = "/sys/fs/cgroup/memory";

function reader(files: Record<string, string>): (file: string) => string | null {
  return (file) => files[file] ?? null;
}

const v2 = {
  "/proc/self/cgroup": "0::/a/b\n",
  "/proc/self/mountinfo": `30 1 0:30 / ${V2} rw - cgroup2 cgroup2 rw\n`,
  [`${V2}/a/b/memory.events.local`]: "",
  [`${V2}/a/b/memory.max`]: "max\n",
  [`${V2}/a/b/memory.current`]: `${MIB}\n`,
  [`${V2}/a/memory.events.local`]: "",
  [`${V2}/a/memory.max`]: `${100 * MIB}\n`,
  [`${V2}/a/memory.current`]: `${60 * MIB}\n`,
  [`${V2}/a/memory.stat`]: `anon 5\ninactive_file ${10 * MIB}\nactive_file ${20 * MIB}\n`,
  [`${V2}/a/memory.swap.max`]: `${8 * MIB}\n`,
  [`${V2}/a/memory.swap.current`]: `${2 * MIB}\n`,
};

test("explainMemoryLimit: a cgroup above the process's own, with reclaimable memory and swap", () => {
  const explain = (bytes: number, swap: number): string | null => explainMemoryLimit(bytes, reader(v2), swap);
  // 40 that are left, and 30 of page cache.
  assert.equal(explain(70 * MIB, 0), null);
  assert.match(explain(70 * MIB + 1, 0)!, new RegExp(`${70 * MIB} bytes left .*${V2}/a/memory.max is ${100 * MIB}`));
  // It may swap 6 more, where there's so much.
  assert.equal(explain(76 * MIB, 64 * MIB), null);
  assert.match(explain(77 * MIB, 64 * MIB)!, /memory\.max/);
  assert.match(explain(76 * MIB, 5 * MIB)!, /memory\.max/);
});

test("explainMemoryLimit: v1, whose second limit is for memory and swap together", () => {
  const files = {
    "/proc/self/cgroup": "4:memory:/a\n",
    "/proc/self/mountinfo": `30 1 0:30 / ${V1} rw - cgroup cgroup rw,memory\n`,
    [`${V1}/a/memory.failcnt`]: "0\n",
    [`${V1}/a/memory.limit_in_bytes`]: `${50 * MIB}\n`,
    [`${V1}/a/memory.usage_in_bytes`]: `${20 * MIB}\n`,
    [`${V1}/a/memory.stat`]: `total_inactive_file ${4 * MIB}\ntotal_active_file ${MIB}\n`,
  };
  const explain = (bytes: number, more: Record<string, string> = {}): string | null =>
    explainMemoryLimit(bytes, reader({ ...files, ...more }), 16 * MIB);
  assert.equal(explain(51 * MIB), null);
  assert.match(explain(52 * MIB)!, /memory\.limit_in_bytes/);
  const both = {
    [`${V1}/a/memory.memsw.limit_in_bytes`]: `${50 * MIB}\n`,
    [`${V1}/a/memory.memsw.usage_in_bytes`]: `${20 * MIB}\n`,
  };
  assert.equal(explain(35 * MIB, both), null);
  assert.match(explain(36 * MIB, both)!, /limit_in_bytes/);
});

test("explainMemoryLimit: without cgroups, and without limits, nothing is refused", () => {
  assert.equal(explainMemoryLimit(2 ** 50, reader({}), 0), null);
  assert.equal(explainMemoryLimit(2 ** 50, reader({ ...v2, [`${V2}/a/memory.max`]: "max\n" }), 0), null);
});
