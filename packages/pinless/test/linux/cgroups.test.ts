// Location of a process's memory cgroups, for all ways in which they're mounted.
import assert from "node:assert/strict";
import { test } from "node:test";
import { cgroupsOf } from "../../dist/linux/cgroups.js";

/** Runs `cgroupsOf` with these files. */
function find(cgroup: string, mounts: string[], files: Record<string, string>) {
  const mountinfo = mounts.map((line, i) => `${i} 1 0:${i} ${line}`).join("\n");
  const { stalls, limits } = cgroupsOf(cgroup, mountinfo, (file) => files[file] ?? null);
  return { stalls, limits: limits.map(({ directory }) => directory) };
}

const V2 = "/ /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate";

test("cgroupsOf: v2, the own cgroup and those above it that have a limit", () => {
  const at = "/sys/fs/cgroup";
  const files = {
    [`${at}/a/b/c/cgroup.type`]: "domain\n",
    [`${at}/a/b/c/memory.events.local`]: "",
    [`${at}/a/b/memory.events.local`]: "",
    [`${at}/a/b/memory.max`]: "max\n",
    [`${at}/a/b/memory.high`]: "max\n",
    [`${at}/a/memory.events.local`]: "",
    [`${at}/a/memory.max`]: "max\n",
    [`${at}/a/memory.high`]: "1048576\n",
  };
  assert.deepEqual(find("0::/a/b/c\n", [V2], files), {
    stalls: [`${at}/a/b/c/memory.pressure`],
    limits: [`${at}/a/b/c`, `${at}/a`],
  });
});

test("cgroupsOf: v1 beside a v2 without controllers", () => {
  const at = "/sys/fs/cgroup/memory";
  const files = {
    "/sys/fs/cgroup/unified/x/cgroup.type": "domain\n",
    [`${at}/a/b/memory.failcnt`]: "0\n",
    [`${at}/a/memory.failcnt`]: "0\n",
    [`${at}/a/memory.limit_in_bytes`]: "1048576\n",
    [`${at}/memory.failcnt`]: "0\n",
    [`${at}/memory.limit_in_bytes`]: "9223372036854771712\n",
  };
  const mounts = [
    "/ /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
    "/ /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory",
    "/ /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
  ];
  assert.deepEqual(find("3:cpu:/\n4:memory:/a/b\n0::/x\n", mounts, files), {
    stalls: ["/sys/fs/cgroup/unified/x/memory.pressure"],
    limits: [`${at}/a/b`, `${at}/a`],
  });
});

test("cgroupsOf: a container that sees only its own part, with and without a namespace", () => {
  const files = {
    "/sys/fs/cgroup/cgroup.type": "domain\n",
    "/sys/fs/cgroup/memory.events.local": "",
    "/sys/fs/cgroup/memory.max": "1048576\n",
  };
  const all = { stalls: ["/sys/fs/cgroup/memory.pressure"], limits: ["/sys/fs/cgroup"] };
  assert.deepEqual(find("0::/\n", [V2], files), all);
  assert.deepEqual(find("0::/docker/a\n", [V2.replace("/ ", "/docker/a ")], files), all);
});

test("cgroupsOf: a directory with a blank", () => {
  const files = { "/a b/cgroup.type": "domain\n" };
  assert.deepEqual(find("0::/\n", ["/ /a\\040b rw - cgroup2 cgroup2 rw"], files).stalls, ["/a b/memory.pressure"]);
});

test("cgroupsOf: nothing without cgroups, in the root, and outside of the mount", () => {
  const nothing = { stalls: [], limits: [] };
  assert.deepEqual(find("", [], {}), nothing);
  assert.deepEqual(find("0::/a\n", [], {}), nothing);
  assert.deepEqual(find("0::/\n", [V2], {}), nothing);
  const files = {
    "/sys/fs/cgroup/cgroup.type": "domain\n",
    "/sys/fs/cgroup/memory.events.local": "",
    "/sys/fs/cgroup/memory.max": "1048576\n",
  };
  assert.deepEqual(find("0::/../b\n", [V2], files), nothing);
  assert.deepEqual(find("0::/docker/ab\n", [V2.replace("/ ", "/docker/a ")], files), nothing);
});
