// Each call to the host fails once, at every place where it's made: the step that makes it rejects with its error, the
// same step works when it's tried again, and close() leaves nothing behind.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { getSystemErrorMap } from "node:util";
import { startFirst } from "../../dist/engine/scheme-choice.js";
import { openPressure } from "../../dist/events/memory-pressure.js";
import { openFollower, openWatchdog, ourTids, reading } from "../../dist/events/monitor-client.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { loop } from "../../dist/linux/loop.js";
import { openFile } from "../../dist/linux/open-file.js";
import { memlockBytes } from "../../dist/linux/probe.js";
import { waitHistogram } from "../../dist/linux/wait-histogram.js";
import { MemoryThreads } from "../../dist/memory/thread-host.js";
import { makeEngine } from "../../dist/portable.js";
import type { Host } from "../../dist/ports/host.js";
import { settingsOf } from "../../dist/ports/options.js";
import { startScheme } from "../../dist/schemes/start.js";
import { numberedBlocks } from "../support/blocks.js";
import { openTargets } from "../support/proc.js";
import { scratchDirectory } from "../support/undo.js";
import { until } from "../support/until.js";

const memory = new MemoryThreads(ourTids, () => null);

/** Memory port, whose calls aren't made to fail. */
const ours = Object.fromEntries(
  Object.getOwnPropertyNames(MemoryThreads.prototype)
    .filter((name) => name !== "constructor")
    .map((name) => [name, (memory[name as "map"] as (...args: unknown[]) => unknown).bind(memory)]),
) as unknown as Host["memory"];

/** Calls, by name, and which of them fails. */
class Fate {
  readonly calls = new Map<string, number>();
  readonly #fails: string | null;
  readonly #nth: number;
  failed = false;

  constructor(fails: string | null, nth: number) {
    this.#fails = fails;
    this.#nth = nth;
  }

  meet(name: string): void {
    const nth = this.calls.get(name) ?? 0;
    this.calls.set(name, nth + 1);
    if (name !== this.#fails || nth !== this.#nth) return;
    this.failed = true;
    throw Object.assign(new Error(`EMFILE: ${name} fails`), { code: "EMFILE", errno: -24 });
  }
}

/** The real world, in which one call fails. */
function hostOf(fate: Fate): Host {
  return {
    memory: {
      ...ours,
      map: (bytes) => {
        fate.meet("memory.map");
        return memory.map(bytes);
      },
      run: async (request) => {
        fate.meet(`memory.run ${request.operation}`);
        return memory.run(request);
      },
    },
    loop,
    memlockBytes,
    waitHistogram,
    describe: (errno) => getSystemErrorMap().get(errno) ?? [`errno ${-errno}`, "unknown"],
    reading,
    openPressure: () => {
      fate.meet("openPressure");
      return openPressure();
    },
    openFile: async (...args) => {
      fate.meet("openFile");
      const opened = await openFile(...args);
      const { handle } = opened;
      const close = handle.close.bind(handle);
      handle.close = async () => {
        await close();
        fate.meet("handle.close");
      };
      return opened;
    },
    openFollower: (calls, ended) => {
      fate.meet("openFollower");
      const follower = openFollower(calls, ended);
      return {
        prepare: () => follower.prepare?.(),
        follow: async (table, watchdog) => {
          fate.meet("follow");
          return follower.follow(table, watchdog);
        },
        unfollow: async (table) => {
          await follower.unfollow(table);
          fate.meet("unfollow");
        },
        close: () => follower.close(),
      };
    },
    startScheme: (name, settings, slots) => {
      fate.meet("startScheme");
      const started = startScheme(name, settings, slots, openWatchdog);
      if (typeof started === "string") return started;
      const { scheme } = started;
      const close = scheme.close.bind(scheme);
      scheme.close = () => {
        close();
        fate.meet("scheme.close");
      };
      return {
        ...started,
        onWoken: (run) => started.onWoken(run),
        openWatchdog: (ended) => {
          fate.meet("openWatchdog");
          return started.openWatchdog(ended);
        },
      };
    },
  };
}

/** Everything that an engine does, each step tried a second time where it fails; comes to what failed. */
async function live(file: string, mapped: string, fate: Fate): Promise<unknown[]> {
  const failures: unknown[] = [];
  const twice = async <T>(step: () => Promise<T> | T): Promise<T> => {
    try {
      return await step();
    } catch (error) {
      failures.push(error);
      return step();
    }
  };
  const host = hostOf(fate);
  const settings = settingsOf({ depth: 8 }, memlockBytes());
  const engine = await twice(() => {
    const started = startFirst(host, settings);
    try {
      return makeEngine(host, settings, started);
    } catch (error) {
      started.scheme.close();
      throw error;
    }
  });
  const arena = await twice(() => engine.arena({ bytes: 2 << 20 }));
  const opened = await twice(() => engine.openFile(file));
  const buffer = arena.alloc(4096);
  for (let i = 0; i < 4; i++) await twice(() => opened.read(buffer, { position: 0 }));
  const { bytesRead } = await twice(() => opened.read(Buffer.alloc(100), 0, 100, 1));
  assert.equal(bytesRead, 100);
  await twice(() => arena.discard(buffer));
  await twice(() => arena.grow(2 << 20));
  const ofFile = await twice(() => engine.arena({ file: mapped, bytes: 8192 }));
  await twice(() => opened.read(ofFile.view(0, 4096), { position: 0 }));
  await twice(() => ofFile.writeback());
  const other = await twice(() => engine.arena({ bytes: 2 << 20 }));
  await other.close().catch((error) => failures.push(error));
  await engine.close().catch((error) => failures.push(error));
  return failures;
}

test("Each call of a port fails once: the next one works, and nothing is left behind", async (t) => {
  await loadLibc();
  const directory = scratchDirectory(t);
  const file = path.join(directory, "file");
  const mapped = path.join(directory, "mapped");
  writeFileSync(file, numberedBlocks(16));
  const rings = (): number => openTargets().filter((link) => link.includes("[io_uring]")).length;
  const files = (): number =>
    openTargets().filter((link) => link.startsWith(directory) || link.endsWith("/mem")).length;
  const quiet = new Fate(null, 0);
  assert.deepEqual(await live(file, mapped, quiet), []);
  const counts = new Map(quiet.calls);
  assert.ok(counts.size > 12, [...counts.keys()].join());
  // The monitor has one of its own, for as long as it's there.
  const before = rings();
  for (const [name, count] of counts) {
    for (let nth = 0; nth < count; nth++) {
      const fate = new Fate(name, nth);
      const what = `${name}, call ${nth}`;
      const failures = await live(file, mapped, fate).catch((error: Error) => assert.fail(`${what}: ${error.stack}`));
      assert.ok(fate.failed, what);
      for (const error of failures) assert.equal((error as { code: string }).code, "EMFILE", `${what}: ${error}`);
      assert.equal(files(), 0, `${what}: a file is left open`);
      await until(`${what}: the end of its rings`, () => rings() <= before + 1);
      t.diagnostic(
        `${what}: ${failures.length === 0 ? "no call fails" : failures.map((e) => (e as Error).message).join("; ")}`,
      );
    }
  }
  await memory.end();
});
