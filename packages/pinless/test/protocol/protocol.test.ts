// The protocol under every interleaving that a seed brings up, against a naive reference. PINLESS_RUNS and PINLESS_SEED
// look further.
import { test } from "node:test";
import fc from "fast-check";
import { operations, setups } from "./world/operations.js";
import { World } from "./world/world.js";

const numRuns = Number(process.env.PINLESS_RUNS ?? 2000);
const seed = Number(process.env.PINLESS_SEED ?? 20201104);

test("Dispatcher, Gate, MmuNotifier and Leases agree with the reference at every step, and drain", () => {
  fc.assert(
    fc.property(setups, operations, (setup, list) => {
      const world = new World(setup);
      for (const operation of list) world.apply(operation);
      world.finish();
    }),
    { numRuns, seed },
  );
});
