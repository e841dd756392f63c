// Background work of the kernel on memory under constant reads: NUMA balancing moves pages to the processor that uses
// them, and khugepaged makes huge pages. Leases, requests that are never registered, and registrations for life are
// read into side by side. Runs in a guest (test/measurements/background.ts).
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import koffi from "koffi";
import { MMAN } from "../../dist/abi/numbers.js";
import { type Arena, Engine, type File, type PinMode } from "../../dist/index.js";
import { madvise, movePages, setAffinity } from "../../dist/linux/libc.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { numberedBlocks } from "../support/blocks.js";
import { figure } from "../support/figure.js";
import { framesOf } from "../support/pagemap.js";
import { addressOf } from "../support/proc.js";
import { until } from "../support/until.js";

const AREA_BYTES = 2 << 20;
const PAGES = AREA_BYTES / 4096;
const AREAS = 8;
const IN_FLIGHT = 4;
const BLOCKS = 64;
const FILE = "/tmp/file";
const HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage";
const DEBUG = "/sys/kernel/debug";
/** The kernel visits all of the memory once a second: out of step with leases, which go every 1.06 s. */
const VISIT_MS = 1000;
/** Rounds in new memory, and the visits of each. */
interface Course {
  readonly rounds: number;
  readonly visits: number;
}
/**
 * One round: the kernel scans for at most 3 % of a thread's time, and a scan of the process takes so long on an
 * emulated processor that the second comes after half a minute.
 */
const BALANCING: Course = { rounds: 1, visits: 12 };
const JOINING: Course = { rounds: 3, visits: 5 };
const USE_MS = 200;
/** The node, and the processor on it, where threads start and memory is taken; and where it's used from then on. */
const [HOME, ELSEWHERE] = [1, 0];
const PINS = ["per-io", "lease", "lifetime"] as const satisfies readonly PinMode[];

/** Memory under constant reads, whose bytes the program looks at. */
class Subject {
  readonly areas: Uint8Array[] = [];
  reads = 0;
  used = 0;
  #flying = 0;
  #running = true;
  readonly #engine: Engine;
  readonly #file: File;

  private constructor(engine: Engine, file: File, arena: Arena) {
    this.#engine = engine;
    this.#file = file;
    for (let i = 0; i < AREAS; i++) this.areas.push(arena.alloc(AREA_BYTES));
  }

  static async open(pin: PinMode): Promise<Subject> {
    // An emulated processor reads a chunk so seldom that its lease would go for want of use, before `max`.
    const lease = { idle: VISIT_MS };
    const engine = await Engine.open({ scheme: "io_uring", pin, depth: 32, lease });
    const arena = await engine.arena({ bytes: AREAS * AREA_BYTES, hugePages: false });
    return new Subject(engine, await engine.openFile(FILE, "r"), arena);
  }

  begin(): void {
    const below = (n: number): number => Math.floor(Math.random() * n);
    const submit = (): void => {
      this.#flying++;
      const at = below(PAGES) * 4096;
      const buffer = this.areas[below(AREAS)]!.subarray(at, at + 4096);
      this.#file.submit("read", buffer, below(BLOCKS) * 4096, ended);
    };
    const ended = (errno: number): void => {
      assert.equal(errno, 0);
      this.reads++;
      this.#flying--;
      if (this.#running) submit();
    };
    for (let i = 0; i < IN_FLIGHT; i++) submit();
  }

  /** Loads from each page: NUMA balancing hears of uses by the processor only. */
  use(): void {
    for (const area of this.areas) for (let at = 0; at < AREA_BYTES; at += 4096) this.used += area[at]!;
  }

  get leasesTaken(): number {
    return this.#engine.stats().leases.taken;
  }

  /** The share of all reads that went by a lease. */
  get leased(): number {
    const { perIo, submitted } = this.#engine.stats();
    return 1 - perIo / submitted;
  }

  async end(): Promise<void> {
    this.#running = false;
    await until("the last reads", () => this.#flying === 0);
    await this.#engine.close();
  }
}

function setting(file: string, value: string | number): void {
  writeFileSync(file, String(value));
}

function pagesOn(node: number, area: Uint8Array): number {
  const start = addressOf(area);
  const status = new Int32Array(PAGES);
  assert.equal(
    movePages(
      Array.from(status, (_, i) => start + i * 4096),
      null,
      status,
    ),
    0,
  );
  return status.filter((each) => each === node).length;
}

function isHuge(area: Uint8Array): boolean {
  const frames = framesOf(area);
  return frames[0]! % PAGES === 0 && frames.every((frame, i) => frame === frames[0]! + i);
}

/** Runs all ways side by side in new memory; returns what `count` found after each visit, added up over all rounds. */
async function underReads(
  t: TestContext,
  { rounds, visits }: Course,
  begin: (subjects: Subject[]) => void,
  count: (area: Uint8Array) => number,
) {
  const changed = PINS.map(() => new Array<number>(visits).fill(0));
  for (let round = 0; round < rounds; round++) {
    await loadLibc();
    assert.equal(setAffinity(HOME), 0);
    const subjects = await Promise.all(PINS.map((pin) => Subject.open(pin)));
    for (const subject of subjects) subject.begin();
    await until("leases", () => subjects[PINS.indexOf("lease")]!.leasesTaken >= AREAS);
    begin(subjects);
    const using = setInterval(() => void subjects.forEach((subject) => void subject.use()), USE_MS);
    for (let visit = 0; visit < visits; visit++) {
      await sleep(VISIT_MS);
      for (const [i, { areas }] of subjects.entries())
        changed[i]![visit]! += areas.map(count).reduce((sum, each) => sum + each);
    }
    clearInterval(using);
    for (const [i, subject] of subjects.entries()) {
      t.diagnostic(
        `round ${round}, ${PINS[i]}: ${subject.reads} reads, ${subject.leased.toFixed(2)} of them by a lease`,
      );
      await subject.end();
    }
  }
  return Object.fromEntries(PINS.map((pin, i) => [pin, changed[i]!])) as Record<(typeof PINS)[number], number[]>;
}

function report(t: TestContext, harm: string, changed: Record<(typeof PINS)[number], number[]>): void {
  for (const pin of PINS) {
    t.diagnostic(`after each visit, ${pin}: ${changed[pin].join(" ")} ${harm}`);
    figure(t, harm, pin, String(changed[pin].at(-1)));
  }
  const share = changed.lease.map((each, i) => (each / changed["per-io"][i]!).toFixed(2));
  t.diagnostic(`after each visit, leases: ${share.join(" ")} of per-io, ${harm}`);
  assert.equal(changed.lifetime.at(-1), 0, "registered for life, and the kernel got at it all the same (control)");
}

test("NUMA balancing under constant reads", async (t) => {
  writeFileSync(FILE, numberedBlocks(BLOCKS));
  const mount = koffi.load(null).func("int mount(str source, str target, str type, unsigned long flags, str data)");
  assert.equal(mount("debug", DEBUG, "debugfs", 0, null), 0);
  setting(`${HUGE_PAGES}/enabled`, "never");
  setting("/proc/sys/kernel/numa_balancing", 0);
  for (const name of ["delay", "period_min", "period_max"])
    setting(`${DEBUG}/sched/numa_balancing/scan_${name}_ms`, VISIT_MS);
  const harm = `pages moved by NUMA balancing, under reads (of ${BALANCING.rounds * AREAS * PAGES})`;
  const before = new Map<Uint8Array, number>();
  const changed = await underReads(
    t,
    BALANCING,
    (subjects) => {
      const all = subjects.flatMap(({ areas }) => areas);
      for (const area of all) before.set(area, pagesOn(ELSEWHERE, area));
      assert.equal(setAffinity(ELSEWHERE), 0);
      setting("/proc/sys/kernel/numa_balancing", 1);
    },
    (area) => Math.max(0, pagesOn(ELSEWHERE, area) - before.get(area)!),
  );
  setting("/proc/sys/kernel/numa_balancing", 0);
  report(t, harm, changed);
});

test("khugepaged under constant reads", async (t) => {
  setting(`${HUGE_PAGES}/khugepaged/scan_sleep_millisecs`, VISIT_MS);
  setting(`${HUGE_PAGES}/khugepaged/pages_to_scan`, 1 << 20);
  const harm = `huge pages made by khugepaged, under reads (of ${JOINING.rounds * AREAS})`;
  const changed = await underReads(
    t,
    JOINING,
    (subjects) => {
      const all = subjects.flatMap(({ areas }) => areas);
      for (const area of all) assert.ok(!isHuge(area));
      setting(`${HUGE_PAGES}/enabled`, "madvise");
      for (const area of all) assert.equal(madvise(addressOf(area), AREA_BYTES, MMAN.MADV_HUGEPAGE), 0);
    },
    (area) => (isHuge(area) ? 1 : 0),
  );
  setting(`${HUGE_PAGES}/enabled`, "never");
  report(t, harm, changed);
});
