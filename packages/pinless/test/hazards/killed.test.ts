// A process that is killed under I/O leaves no pin. They are counted on the whole machine: a process that is gone has
// no VmPin.
import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { numberedBlocks } from "../support/blocks.js";
import { runModule } from "../support/children.js";
import { needsRoot } from "../support/disks.js";
import { pinnedBytes } from "../support/proc.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const MIB = 1 << 20;
const LIFETIME_BYTES = 64 * MIB;
const PAGE_BYTES = 4096;

/** Reads without end into leases, and into memory that is registered for life. */
const SOURCE = `
  import { Engine } from PINLESS;
  const load = async (options, bytes) => {
    let answered = 0;
    let going;
    const started = new Promise((resolve) => { going = resolve; });
    const engine = await Engine.open({ depth: 32, ...options });
    const arena = await engine.arena({ bytes, hugePages: false });
    const file = await engine.openFile(process.argv[1]);
    for (let i = 0; i < 32; i++) {
      const buffer = arena.alloc(65536);
      const again = (errno) => {
        if (errno !== 0) throw new Error("errno " + errno);
        if (++answered === 1000) going();
        file.submit("read", buffer, (answered % 4) * 65536, again);
      };
      file.submit("read", buffer, 0, again);
    }
    await started;
  };
  await load({ lease: { idle: 3_600_000, max: 3_600_000 } }, ${4 * MIB});
  await load({ pin: "lifetime" }, ${LIFETIME_BYTES});
  console.log("going");
`;

/** Pages that are pinned on this machine now; root only. */
function pinnedPages(): number {
  // A write sums up the counters of all processors.
  writeFileSync("/proc/sys/vm/stat_refresh", "1");
  const vmstat = readFileSync("/proc/vmstat", "utf8");
  const of = (name: string): number => Number(new RegExp(`^${name} (\\d+)`, "m").exec(vmstat)![1]);
  return of("nr_foll_pin_acquired") - of("nr_foll_pin_released");
}

async function killed(t: TestContext, look: (child: ChildProcess) => Promise<void>): Promise<void> {
  const file = path.join(scratchDirectory(t), "file");
  writeFileSync(file, numberedBlocks(64));
  let looking: Promise<void> = Promise.resolve();
  const ended = await runModule(SOURCE, {
    args: [file],
    started: (child) => {
      child.stdout!.once("data", () => {
        looking = look(child).finally(() => child.kill("SIGKILL"));
        looking.catch(() => {});
      });
    },
  });
  await looking;
  assert.deepEqual([ended.code, ended.signal], [null, "SIGKILL"], ended.stderr);
}

test("SIGKILL in the middle of I/O: no pin stays on the machine", { skip: needsRoot }, async (t) => {
  const before = pinnedPages();
  const most = LIFETIME_BYTES / PAGE_BYTES;
  for (let round = 0; round < 3; round++) {
    await killed(t, async (child) => {
      assert.ok(pinnedBytes(child.pid!) > LIFETIME_BYTES, "leases, and what is registered for life");
      // The control: while the process lives, /proc/vmstat counts its pins.
      await until("its pins to be counted", () => pinnedPages() - before >= most);
    });
    // Others of this machine may do I/O meanwhile.
    await until("its pins to go", () => pinnedPages() - before < most / 16);
  }
});
