// Moving pages under load: on one node they are there already, which shows what is counted.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { memoryNodes } from "../../../pinless/dist/linux/page-migration-support.js";
import { scratchDirectory } from "../../../pinless/dist-test/support/undo.js";
import { migration } from "../../dist/bench/harms/migration.js";

test("every page is migrated once in each turn to each node, and all of them without pins", async (t) => {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, new Uint8Array(16 << 20));
  const target = { path: file, bytes: 16 << 20, filesystem: "ext4", numbered: false };
  const nodes = memoryNodes();
  const reads = { by: "engine", scheme: "direct", pin: "per-io", pages: "small" } as const;
  const figures = await migration(reads, target, { kind: "migration", ms: 0, nodes });
  assert.deepEqual(figures.nodes, nodes);
  assert.equal(figures.operations, 8 * nodes.length);
  assert.equal(figures.pagesAsked, ((16 << 20) / 4096) * nodes.length);
  assert.equal(figures.pagesDone + figures.pagesRefused, figures.pagesAsked);
  if (nodes.length === 1) assert.equal(figures.pagesRefused, 0);
});
