// npm run soak -- [--minutes 10] [--seed N] [--unfollowed]
//
// Random I/O on every scheme, while memory is changed under it by the arena's own operations and by other code of the
// process: not one byte may be wrong. Prints what was done. With --unfollowed there is no monitor, and the run must
// find a wrong byte: the control.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { parseArgs } from "node:util";
import type { SchemeName } from "../../dist/index.js";
import { buildLibrary } from "../hazards/native.js";
import { needsRoot, swap } from "../support/disks.js";
import { ioUringOff } from "../support/io-uring.js";
import { Random } from "../support/random.js";
import { scratchDirectory } from "../support/undo.js";
import { CELL_BYTES, Content } from "./content.js";
import { epoch, Tally, Wrong } from "./epoch.js";
import { Foreign } from "./foreign.js";

const FILE_BYTES = 4 << 20;
const EPOCH_MS = 2000;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    seed: { type: "string" },
    unfollowed: { type: "boolean", default: false },
  },
});
const seed = values.seed === undefined ? Date.now() % 2 ** 32 : Number(values.seed);
const end = performance.now() + Number(values.minutes) * 60_000;
const tallies: Record<string, Record<string, number>> = {};

/** One epoch after the other; each beginning with a file as the one before left it. */
async function soak(t: TestContext, scheme: SchemeName, library: string): Promise<void> {
  const random = new Random(seed + scheme.length);
  const content = new Content(FILE_BYTES / CELL_BYTES);
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, content.expected(0, FILE_BYTES));
  const tally = new Tally();
  tallies[scheme] = tally.counts;
  const foreign = new Foreign(library);
  const engine = { scheme, ...(values.unfollowed ? { events: { userfaultfd: false } } : {}) };
  while (performance.now() < end) {
    const ms = Math.min(EPOCH_MS, end - performance.now());
    await epoch({ t, engine, path: file, content, random, tally, foreign, ms });
  }
}

test(`soak: ${values.minutes} minutes, seed ${seed}`, { skip: values.unfollowed && ioUringOff() }, async (t) => {
  console.log(`seed ${seed}`);
  // Where there's none, what is to be paged out is counted as "not here".
  if (needsRoot === false) swap(t, 256 << 20);
  const library = buildLibrary(t);
  // Only what is registered can be lost to other code.
  const schemes: SchemeName[] = values.unfollowed ? ["io_uring"] : ["io_uring", "aio", "direct"];
  const running = schemes.filter((scheme) => scheme !== "io_uring" || ioUringOff() === false);
  const ends = await Promise.allSettled(running.map((scheme) => soak(t, scheme, library)));
  console.table(transposed(tallies));
  const errors = ends.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  if (values.unfollowed)
    assert.ok(
      errors.some((error) => error instanceof Wrong),
      "nothing was lost: the soak would see nothing",
    );
  else if (errors.length > 0)
    throw new AggregateError(
      errors,
      `again with: npm run soak -- --seed ${seed}\n${errors.map(({ stack }) => stack).join("\n")}`,
    );
  for (const counts of Object.values(tallies)) assert.ok((counts.reads ?? 0) > 0);
});

/** Counts of each action, by scheme. */
function transposed(of: typeof tallies): Record<string, Record<string, number>> {
  const names = new Set(Object.values(of).flatMap((counts) => Object.keys(counts)));
  return Object.fromEntries(
    [...names].map((name) => [
      name,
      Object.fromEntries(Object.entries(of).map(([scheme, counts]) => [scheme, counts[name] ?? 0])),
    ]),
  );
}
