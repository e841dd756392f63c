// A memory cgroup that is short of memory makes the engine in it give its leases up, and take them again afterwards.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { Engine } from "../../dist/index.js";
import { numberedBlocks } from "../support/blocks.js";
import { memoryCgroup, needsMemoryCgroups } from "../support/cgroup.js";
import { runModule } from "../support/children.js";
import { pinnedBytes } from "../support/proc.js";
import { scratchDirectory, undoing } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const ARENA_BYTES = 16 * MIB;
const LIMIT_BYTES = 256 * MIB;

/** Reads numbered blocks into every chunk, round and round, and says what happened; until its standard input ends. */
const READER = `
  import { readFileSync } from "node:fs";
  import { Engine } from PINLESS;
  const { wrongBlocks } = await import(process.argv[3]);
  const HOUR = 3_600_000;
  const events = JSON.parse(process.argv[1]);
  const engine = await Engine.open({ depth: 16, lease: { idle: HOUR, max: HOUR }, events });
  const arena = await engine.arena({ bytes: ${ARENA_BYTES} });
  const memory = arena.alloc(${ARENA_BYTES});
  const file = await engine.openFile(process.argv[2]);
  let rounds = 0;
  for (;;) {
    for (let at = 0; at < memory.byteLength; at += ${2 * MIB}) {
      const block = (rounds * 7 + at / ${2 * MIB}) % 256;
      const buffer = memory.subarray(at, at + 4096);
      await file.read(buffer, { position: block * 4096 });
      const wrong = wrongBlocks(buffer, block);
      if (wrong !== null) throw new Error(wrong);
    }
    if (++rounds % 20 === 0) {
      const { pressure, leases, failed } = engine.stats();
      process.stdout.write(JSON.stringify({ rounds, failed, live: leases.live, ...pressure }) + "\\n");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
`;

/** Takes memory until the page cache has hardly any, and reads a file for which there is no room, round and round. */
const SQUEEZER = `
  const { openSync, readFileSync, readSync, writeFileSync } = require("node:fs");
  const [, usage, stat, file] = process.argv;
  writeFileSync("/proc/self/oom_score_adj", "1000");
  // Here, so that its pages are this cgroup's.
  writeFileSync(file, Buffer.alloc(64 << 20, 1), { flush: true });
  const kept = [];
  const cached = () => {
    const found = readFileSync(stat, "utf8").matchAll(/^(?:in)?active_file (\\d+)$/gm);
    return [...found].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
  };
  const fd = openSync(file);
  const buffer = Buffer.alloc(1 << 20);
  for (let at = 0; ; at = (at + 1) % 64) {
    while (Number(readFileSync(usage, "utf8")) - cached() < ${LIMIT_BYTES - 14 * MIB})
      kept.push(Buffer.alloc(1 << 20, 1));
    if (at === 0) console.log("full");
    readSync(fd, buffer, 0, 1 << 20, at << 20);
  }
`;

interface Said {
  readonly rounds: number;
  readonly failed: number;
  readonly live: number;
  readonly source: string | null;
  readonly givenUp: number;
  readonly active: boolean;
}

interface Bed {
  /** Number of times that the cgroup met its limit; and of processes that were killed for it. */
  readonly limitHits: () => number;
  readonly oomKills: () => number;
  readonly pinned: () => number;
  /** Latest report of the reader. */
  readonly said: () => Said;
  readonly squeeze: () => ChildProcess;
}

async function withReader(t: TestContext, events: object, body: (bed: Bed) => Promise<void>): Promise<void> {
  const cgroup = memoryCgroup(t, LIMIT_BYTES);
  const directory = scratchDirectory(t);
  const blocks = path.join(directory, "blocks");
  const large = path.join(directory, "large");
  writeFileSync(blocks, numberedBlocks(256));
  let reader: ChildProcess | undefined;
  let said: Said | undefined;
  let rest = "";
  const ended = runModule(READER, {
    wrapper: cgroup.wrapper,
    // Garbage would come and go by more than what is left.
    node: ["--max-semi-space-size=1"],
    args: [JSON.stringify(events), blocks, new URL("../support/blocks.js", import.meta.url).href],
    started: (child) => {
      reader = child;
      child.stdout!.on("data", (text: string) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        if (lines.length > 0) said = JSON.parse(lines.at(-1)!) as Said;
      });
    },
  });
  undoing(t, async () => {
    reader?.kill("SIGKILL");
    await ended;
  });
  const alive = async (): Promise<void> => {
    const early = await Promise.race([ended, new Promise<null>((resolve) => setImmediate(resolve, null))]);
    assert.equal(early, null, early?.stderr);
  };
  const pinned = (): number => pinnedBytes(reader!.pid!);
  await until("all leases are taken", async () => {
    await alive();
    return said?.live === ARENA_BYTES / (2 * MIB) && pinned() >= ARENA_BYTES;
  });
  await body({
    limitHits: cgroup.limitHits,
    oomKills: cgroup.oomKills,
    pinned,
    said: () => said!,
    squeeze: () => {
      const [command, ...before] = [...cgroup.wrapper, process.execPath];
      const child = spawn(command!, [...before, "--eval", SQUEEZER, "--", cgroup.usage, cgroup.stat, large], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      undoing(t, () => void child.kill("SIGKILL"));
      return child;
    },
  });
  await alive();
  assert.equal(said!.failed, 0);
}

test(
  "Engine gives its leases up while its cgroup is short of memory, and takes them again",
  { skip: needsMemoryCgroups },
  (t) =>
    withReader(t, {}, async ({ said, pinned, squeeze }) => {
      assert.match(said().source!, /pressure.*pinless-test/);
      const squeezer = squeeze();
      await until("leases are given up", () => said().givenUp > 0, { limitMs: 60_000 });
      await until("nothing is pinned", () => pinned() < 2 * MIB, { limitMs: 60_000 });
      const { rounds } = said();
      await until("I/O goes on", () => said().rounds > rounds + 100, { limitMs: 60_000 });
      squeezer.kill("SIGKILL");
      await until("leases are taken again", () => !said().active && said().live > 0 && pinned() >= ARENA_BYTES, {
        limitMs: 100_000,
      });
    }),
);

test("Engine with pressure off keeps its leases (control)", { skip: needsMemoryCgroups }, (t) =>
  withReader(t, { pressure: false }, async ({ said, pinned, squeeze, limitHits, oomKills }) => {
    assert.equal(said().source, null);
    let full = false;
    squeeze().stdout!.once("data", () => {
      full = true;
    });
    await until("hardly any page cache is left", () => full || oomKills() > 0, { limitMs: 60_000 });
    const before = limitHits();
    const { rounds } = said();
    const isShort = (): boolean => limitHits() > before + 100 || oomKills() > 0;
    await until("the cgroup has been short of memory", isShort, { limitMs: 60_000 });
    await until("I/O went on", () => said().rounds > rounds + 100, { limitMs: 60_000 });
    assert.ok(pinned() >= ARENA_BYTES);
    assert.deepEqual([said().live, said().givenUp], [ARENA_BYTES / (2 * MIB), 0]);
  }),
);

test("Engine.stats names the source of memory pressure", async () => {
  for (const [events, looks] of [
    [undefined, true],
    [{ pressure: true }, true],
    [{ pressure: false }, false],
  ] as const) {
    const engine = await Engine.open(events === undefined ? {} : { events });
    const { pressure, pin, degraded } = engine.stats();
    await engine.close();
    assert.deepEqual([pressure.givenUp, pressure.active], [0, false]);
    if (pin !== "lease") continue;
    // Where the kernel tells nothing at all, that's said instead.
    const isSaid = degraded.some((reason) => reason.includes("memory pressure"));
    assert.ok(looks ? pressure.source !== null || isSaid : pressure.source === null && !isSaid);
  }
});
