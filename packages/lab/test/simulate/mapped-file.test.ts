// A mapped file in random runs: the engine copies into it. One that lets a device write straight into it does the harm
// there that was measured on real kernels, and none in the proposal's.
import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate } from "../../dist/simulate/run-simulation.js";
import type { Swarm } from "../../dist/simulate/swarm.js";
import { firstFailure, SIMULATED_MUTANTS, type SimulatedMutant } from "../../dist-mutants/simulated-mutants.js";

const straight = SIMULATED_MUTANTS.find(({ name }) => name === "bounce-for-files")!;

/** The engine that doesn't copy, in otherwise the same runs. */
function changed(seeds: number, changes: Partial<Swarm>): SimulatedMutant {
  return { ...straight, seeds, changes: { ...straight.changes, ...changes } };
}

for (const mappedFile of ["ext4", "xfs", "btrfs"] as const)
  test(`a mapped file on ${mappedFile}: device writes lose data, and none in the proposal's kernel`, async () => {
    const { requests, changes } = changed(0, { mappedFile });
    for (let seed = 1; seed <= 6; seed++) assert.equal((await simulate({ seed, requests, changes })).failure, null);
    assert.equal(await firstFailure(changed(6, { mappedFile, design: "notifier" })), null);
    const found = await firstFailure(changed(100, { mappedFile }));
    const harm = /after writeback the disk|doesn't match its checksum|a snapshot/;
    assert.match(found?.failure?.message ?? "nothing was found", harm);
  });
