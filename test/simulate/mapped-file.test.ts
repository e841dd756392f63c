// A mapped file in random runs: the engine copies into it. One that lets a device write straight into it does the harm there that was
// measured on real kernels, and none in the proposal's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PortableEngine } from "../../dist/engine.js";
import { NO_FAULTS } from "../../dist/model/scheme.js";
import type { Design } from "../../dist/model/tables.js";
import { segmentOf } from "../../dist/segment.js";
import { simulate } from "../../dist/simulate/run.js";
import type { Swarm } from "../../dist/simulate/swarm.js";

/** A run that is about nothing else. */
const ALONE: Partial<Swarm> = {
  timing: { deviceMs: [0.01, 0.2], releaseMs: 1, tagMs: 0, tags: "own", wakeMs: 0.005 },
  faults: NO_FAULTS,
  inFlight: 1,
  mappedMs: 0.3,
  memlockPages: 0,
  ...{ operationMs: 0, neighbourMs: 0, busyMs: 0, forkMs: 0 },
  ...{ khugepagedMs: 0, balancingMs: 0, compactionMs: 0, reclaimMs: 0 },
};

type Filesystem = Exclude<Swarm["mappedFile"], "none">;

/** What the first of so many seeds that fails says, or null. */
async function firstFailure(mappedFile: Filesystem, design: Design, seeds: number): Promise<string | null> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { failure } = await simulate({ seed, requests: 600, changes: { ...ALONE, mappedFile, design } });
    if (failure !== null) return failure.message;
  }
  return null;
}

/** Arenas of files have nobody who copies. */
async function withoutCopies(body: () => Promise<void>): Promise<void> {
  const { arena } = PortableEngine.prototype;
  PortableEngine.prototype.arena = async function (options) {
    const made = await arena.call(this, options);
    if ("file" in options) Object.assign(segmentOf(made.view(0, 1).buffer)!, { copier: null });
    return made;
  };
  try {
    await body();
  } finally {
    PortableEngine.prototype.arena = arena;
  }
}

for (const mappedFile of ["ext4", "xfs", "btrfs"] as const)
  test(`a mapped file on ${mappedFile}: nothing is lost; written straight by a device it is, but not in the proposal's kernel`, async () => {
    assert.equal(await firstFailure(mappedFile, "gup", 6), null);
    await withoutCopies(async () => {
      assert.equal(await firstFailure(mappedFile, "notifier", 6), null);
      const harm = /after writeback the disk|doesn't match its checksum|a snapshot/;
      assert.match((await firstFailure(mappedFile, "gup", 100)) ?? "nothing was found", harm);
    });
  });
