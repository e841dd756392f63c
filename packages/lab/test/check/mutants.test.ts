// Steps of what no exploration has, the monitor's own program above all: left out of a copy, random runs miss them, and
// not the whole engine.
import assert from "node:assert/strict";
import { test } from "node:test";
import { simulate } from "../../dist/simulate/run-simulation.js";
import { firstFailure, SIMULATED_MUTANTS } from "../../dist-mutants/simulated-mutants.js";

for (const mutant of SIMULATED_MUTANTS)
  test(`left out: ${mutant.leavesOut}`, async () => {
    const found = await firstFailure(mutant);
    assert.equal(found?.failure?.what, mutant.breaks ?? "LINEAR", "nothing was missed");
    const { requests, changes } = mutant;
    const { failure } = await simulate({ seed: found.seed, requests, changes });
    assert.equal(failure, null, `seed ${found.seed} fails with nothing left out`);
  });
