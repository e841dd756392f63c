// Other code of the process makes huge pages of an arena's memory (MADV_COLLAPSE) under I/O. The kernel refuses with
// EAGAIN while it finds a page pinned, so the caller has to try again, as users of MADV_COLLAPSE do. The control:
// memory that is registered for life is refused each time.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import koffi from "koffi";
import { MMAN } from "../../dist/abi/numbers.js";
import { type Arena, Engine, probe } from "../../dist/index.js";
import { EAGAIN, EBUSY } from "../../dist/protocol/errno.js";
import { numberedBlocks } from "../support/blocks.js";
import { figure, isColumn } from "../support/figure.js";
import { addressOf, smapsBytes } from "../support/proc.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";
import { Readers } from "./readers.js";
import { WAYS, type Way } from "./ways.js";

const BLOCKS = 256;
const HUGE_PAGE_BYTES = 2 << 20;
/** Three of them fit into the 8 MiB that an ordinary user may register. */
const AREAS = process.getuid?.() === 0 ? 8 : 3;
/** Number of attempts, all of which are refused. */
const TRIES = 100;

const { hugePages } = await probe();
const skip = hugePages === null || hugePages === "never" ? "machine: no transparent huge pages" : false;
const madvise = koffi.load(null).func("int madvise(uintptr_t at, size_t bytes, int advice)");

interface Bed {
  readonly arena: Arena;
  /** The first is read into all the time, the others were read into before. */
  readonly areas: readonly Uint8Array[];
}

/** Memory in small pages. */
async function withReads(t: TestContext, { options }: Way, body: (bed: Bed) => Promise<void>): Promise<void> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  const engine = await Engine.open({ ...options, depth: 32 });
  try {
    const arena = await engine.arena({ bytes: AREAS * HUGE_PAGE_BYTES, hugePages: false });
    const areas = Array.from({ length: AREAS }, () => arena.alloc(HUGE_PAGE_BYTES));
    const file = await engine.openFile(name);
    const readers = areas.map((area) => new Readers(file, area, BLOCKS, 2));
    await until("reads in every area", () => readers.every(({ reads }) => reads > 10));
    await Promise.all(readers.slice(1).map((each) => each.stop()));
    await body({ arena, areas });
    await readers[0]!.stop();
    assert.equal(engine.stats().failed, 0);
  } finally {
    await engine.close();
  }
}

function isHuge(area: Uint8Array): boolean {
  const start = addressOf(area);
  return smapsBytes("AnonHugePages", start, start + HUGE_PAGE_BYTES) > 0;
}

/** As other code asks: 0, or the errno. */
function collapse(area: Uint8Array): number {
  return madvise(addressOf(area), HUGE_PAGE_BYTES, MMAN.MADV_COLLAPSE) === 0 ? 0 : koffi.errno();
}

for (const way of WAYS) {
  const { name, control } = way;
  test(
    `MADV_COLLAPSE by other code, ${name}, beside reads: ${control ? "EAGAIN, always (control)" : "soon done"}`,
    {
      skip,
    },
    (t) =>
      withReads(t, way, async ({ areas }) => {
        const resting = areas.slice(1);
        if (control) {
          // Well beyond the time after which a lease would have gone.
          for (let i = 0; i < TRIES; i++) {
            for (const area of resting) assert.equal(collapse(area), EAGAIN);
            await setTimeout(1);
          }
        } else {
          for (const area of resting)
            await until("a huge page", () => {
              const errno = collapse(area);
              assert.ok(errno === 0 || errno === EAGAIN || errno === EBUSY, `errno ${errno}`);
              return errno === 0;
            });
        }
        const huge = resting.filter(isHuge).length;
        assert.equal(huge, control ? 0 : resting.length);
        const harm = `areas that other code could make huge pages of (MADV_COLLAPSE), of ${resting.length}`;
        if (isColumn(name)) figure(t, harm, name, String(huge));
      }),
  );

  test(`Arena.collapse, ${name}, while reads go on in it: ${control ? "refused (control)" : "done"}`, { skip }, (t) =>
    withReads(t, way, async ({ arena, areas }) => {
      if (control) {
        const { pages, busy } = await arena.collapse();
        assert.equal(busy, pages);
      } else {
        // The kernel may hold the pages of a request that wasn't registered for some time after it has ended.
        await until("huge pages", async () => (await arena.collapse()).busy === 0);
      }
      assert.equal(areas.filter(isHuge).length, control ? 0 : AREAS);
    }),
  );
}
