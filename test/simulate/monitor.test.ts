// The monitor's program in virtual time: each of its steps that is left out of a copy is missed, in runs in which the whole of it isn't.
import assert from "node:assert/strict";
import { test } from "node:test";
import { mutate, SIMULATED } from "../../dist/cli/check/mutate.js";
import { NO_FAULTS } from "../../dist/model/scheme.js";
import type { simulate } from "../../dist/simulate/run.js";
import { type Swarm, swarmOf } from "../../dist/simulate/swarm.js";

/** One of so many shows it. */
const SEEDS = 40;
const PROGRAM = "core/monitor-program.js";
const LEFT_OUT = [
  {
    leavesOut: "a range is unsettled until its callers have left their calls",
    file: "core/settlings.js",
    from: "departures.filter((departure) => !departure.hasLeft)",
    to: "departures.filter(() => false)",
  },
  {
    leavesOut: "what can't be drained is announced",
    file: PROGRAM,
    from: "const removed = start > 0 ? [] : yield* this.#announce(rangesOf(removing));",
    to: "const removed = [];",
  },
] as const;

/** Discards by other threads, a fast device, a slow monitor, and pages that go late. */
function storm(seed: number): Partial<Swarm> {
  const { engine, timing } = swarmOf(seed);
  return {
    engine: { ...engine, events: { userfaultfd: true } },
    timing: { ...timing, deviceMs: [0.001, 0.002] },
    faults: NO_FAULTS,
    requestPages: 1,
    writeShare: 0,
    operationMs: 0,
    busyMs: 0,
    forkMs: 0,
    foreignDiscardMs: 0.1,
    foreignUnmapMs: 0,
    ownDiscardMs: 0,
    monitorDiesMs: 0,
    monitorTiming: { stepMs: 1, keptMs: 20 },
    callTiming: { unseenMs: 4, zapMs: 5 },
  };
}

const { simulate: whole } = await import("../../dist/simulate/run.js");

for (const step of LEFT_OUT)
  test(`left out: ${step.leavesOut}`, async () => {
    const modules = mutate({ name: step.leavesOut, shows: "", ...step }, SIMULATED);
    try {
      const broken = (await import(new URL("simulate/run.js", modules.url).href)) as { simulate: typeof simulate };
      for (let seed = 1; ; seed++) {
        assert.ok(seed <= SEEDS, "nothing was missed");
        const options = { seed, requests: 1500, changes: storm(seed) };
        const { failure } = await broken.simulate(options);
        if (failure === null) continue;
        assert.equal(failure.what, "LINEAR");
        assert.equal((await whole(options)).failure, null);
        break;
      }
    } finally {
      modules.remove();
    }
  });
