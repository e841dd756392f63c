// Reads into a mapped file are copied: if src/files leaves that out, a device writes pages that are being written back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../../../pinless/dist-test/support/until.js";
import { smallWorld } from "../../../pinless/dist-test/support/world.js";
import { BUILT } from "../../dist/commands/check/pool.js";
import type { Flusher as FlusherOf } from "../../dist/model/flusher.js";
import type { FILESYSTEMS as Filesystems } from "../../dist/model/tables.js";
import type { SimulatedWorld as WorldOf } from "../../dist/simulate/simulated-world.js";
import { mutate } from "../../dist-mutants/mutate.js";
import { SIMULATED_MUTANTS } from "../../dist-mutants/simulated-mutants.js";

const PAGE = 4096;
const PAGES = 8;
const ROUNDS = 40;

/**
 * Blocks of a file on btrfs whose checksums are wrong after reads into a mapping of it, with the kernel's flusher
 * beside them.
 */
async function corruptedBlocks(modules: URL): Promise<number> {
  const from = (file: string): Promise<unknown> => import(new URL(file, modules).href);
  const { SimulatedWorld } = (await from("simulate/simulated-world.js")) as { SimulatedWorld: typeof WorldOf };
  const { Flusher } = (await from("model/flusher.js")) as { Flusher: typeof FlusherOf };
  const { FILESYSTEMS } = (await from("model/tables.js")) as { FILESYSTEMS: typeof Filesystems };
  const world = new SimulatedWorld(smallWorld());
  const model = world.files.create("mapped", 0, FILESYSTEMS.btrfs);
  model.write(0, new Uint8Array(PAGES * PAGE).fill(1));
  const source = world.files.create("source");
  for (let page = 0; page < PAGES; page++) source.write(page * PAGE, new Uint8Array(PAGE).fill(2 + page));
  model.settle();
  source.settle();
  const engine = world.openEngine({ scheme: "io_uring" });
  const file = await engine.openFile("mapped", "r+");
  const reads = await engine.openFile("source", "r");
  const memory = (await engine.arena({ file, bytes: PAGES * PAGE })).view(0, PAGES * PAGE);
  const flusher = new Flusher(world.machine);
  let corrupted = 0;
  for (let round = 0; round < ROUNDS; round++) {
    for (let page = 0; page < PAGES; page++) memory[page * PAGE] = round;
    const reading = Array.from({ length: PAGES }, (_, page) =>
      reads.read(memory.subarray(page * PAGE, (page + 1) * PAGE), { position: ((page + round) % PAGES) * PAGE }),
    );
    // They are on their way by then: no time passes in microtasks.
    for (let turn = 0; turn < 20; turn++) await null;
    flusher.begin(model.firstInodePage, PAGES);
    await Promise.all(reading);
    // All stores have ended; a later writeback finds what they wrote.
    await until("it's written back", () => !flusher.isBusy(model.firstInodePage, PAGES));
    for (let page = 0; page < PAGES; page++)
      if (world.machine.cache.isCorrupt(model.firstInodePage + page)) corrupted++;
  }
  await engine.close();
  return corrupted;
}

test("bounce-for-files: device writes into a mapping on btrfs leave wrong checksums, copies leave none", async () => {
  assert.equal(await corruptedBlocks(BUILT), 0);
  const mutant = SIMULATED_MUTANTS.find(({ name }) => name === "bounce-for-files")!;
  const modules = mutate(mutant, "simulate");
  try {
    assert.ok((await corruptedBlocks(modules.url)) > 0);
  } finally {
    modules.remove();
  }
});
