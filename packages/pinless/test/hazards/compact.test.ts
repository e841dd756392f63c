// The kernel compacts memory (/proc/sys/vm/compact_memory) under I/O: it can move the pages of buffers, and every read
// has its bytes.
// The control: memory that is registered for life stays where it is, all of it.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine, type File } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { needsRoot } from "../support/disks.js";
import { figure, isColumn } from "../support/figure.js";
import { framesOf } from "../support/pagemap.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { Readers } from "./readers.js";
import { WAYS, type Way } from "./ways.js";

const BLOCKS = 256;
const AREA_BYTES = 2 << 20;
const AREAS = 8;

interface Subject extends Way {
  readonly engine: Engine;
  readonly file: File;
  /** The first is read into all the time, the others were read into before. */
  readonly areas: Uint8Array[];
}

interface Bed {
  readonly subjects: Subject[];
  /** Memory between the subjects', without reads: if compaction moves none of it, it found nothing to move. */
  readonly untouched: Uint8Array[];
}

/** One of each, whose memory lies side by side. */
async function bed(t: TestContext): Promise<Bed> {
  const name = path.join(scratchDirectory(t), "file");
  writeFileSync(name, numberedBlocks(BLOCKS));
  const all: Subject[] = [];
  const untouched: Uint8Array[] = [];
  const area = async (engine: Engine): Promise<Uint8Array> =>
    (await engine.arena({ bytes: AREA_BYTES, hugePages: false })).alloc(AREA_BYTES);
  for (const way of WAYS) {
    const engine = await Engine.open({ ...way.options, depth: 32 });
    undoing(t, () => engine.close());
    all.push({ ...way, engine, file: await engine.openFile(name), areas: [] });
  }
  for (let i = 0; i < AREAS; i++) {
    for (const { engine, areas } of all) areas.push(await area(engine));
    untouched.push(await area(all.find(({ control }) => !control)!.engine));
  }
  return { subjects: all, untouched };
}

const moved = (before: readonly number[], after: readonly number[]): number =>
  after.filter((frame, i) => frame !== before[i]).length;

test("Memory is compacted under I/O: buffers move, and nothing is lost", { skip: needsRoot }, async (t) => {
  // Whether any of them lie where compaction takes pages from is for the kernel to say.
  const movedBy = WAYS.map(() => 0);
  let untouchedMoved = 0;
  for (let round = 0; ; round++) {
    const { subjects: all, untouched } = await bed(t);
    for (const { file, areas } of all) {
      const readers = areas.map((area) => new Readers(file, area, BLOCKS, 2));
      await Promise.all(readers.map((each) => each.stop()));
    }
    const readers = all.map(({ file, areas }) => new Readers(file, areas[0]!, BLOCKS));
    for (let times = 0; times < 3; times++) {
      const before = all.map(({ areas }) => areas.map(framesOf));
      const untouchedBefore = untouched.map(framesOf);
      // On a thread of libuv's pool, so that reads go on meanwhile.
      await writeFile("/proc/sys/vm/compact_memory", "1");
      for (const [i, { areas }] of all.entries())
        for (const [k, area] of areas.entries()) movedBy[i]! += moved(before[i]![k]!, framesOf(area));
      for (const [i, area] of untouched.entries()) untouchedMoved += moved(untouchedBefore[i]!, framesOf(area));
    }
    await Promise.all(readers.map((each) => each.stop()));
    for (const [i, { name, control }] of all.entries()) if (control) assert.equal(movedBy[i], 0, name);
    if (round < 20 && all.some(({ control }, i) => movedBy[i] === 0 && !control)) continue;
    if (untouchedMoved === 0) {
      t.skip("machine: compaction found nothing to move");
      return;
    }
    for (const [i, { name, control, areas }] of all.entries()) {
      const pages = ((round + 1) * areas.length * AREA_BYTES) / 4096;
      const moved = movedBy[i]!;
      assert.ok(
        moved > 0 || control,
        `${name}: none of ${pages} pages moved, of memory without reads ${untouchedMoved}`,
      );
      if (isColumn(name))
        figure(t, `pages moved by the kernel's compaction, under reads (of ${pages})`, name, `${moved}`);
    }
    return;
  }
});
