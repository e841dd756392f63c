/** Examines everything that decides how pinless runs here. What can be tried is tried, and undone. */

import { release } from "node:os";
import { resolve } from "node:path";
import { loadLibc, memlockBytes, memoryBytes, settingsOf } from "pinless/internal";
import { directIoFacts, examineDirectIo } from "./direct-io.js";
import { examineDirectWrites, NO_DIRECT_WRITE_FACTS } from "./direct-writes.js";
import { type Finding, type Found, missing } from "./finding.js";
import { examineMemlock, NO_MEMLOCK_FACTS } from "./memlock-finding.js";
import {
  examineHugePages,
  examineNuma,
  examinePressure,
  examineSwap,
  NO_HUGE_PAGE_FACTS,
} from "./memory-calls-finding.js";
import { examineContainer, examineNode, memoryCgroup } from "./node-and-container.js";
import { examinePins } from "./pins.js";
import { placeOf } from "./place.js";
import {
  examineAio,
  examineRevocation,
  examineRing,
  NO_AIO_FACTS,
  NO_REVOCATION_FACTS,
  NO_RING_FACTS,
} from "./schemes.js";
import { examineBench, examineEngine, NO_ENGINE_FACTS } from "./try-engine.js";
import { examineUserfaultfd, NO_USERFAULTFD_FACTS } from "./userfaultfd-finding.js";

export type Findings = Awaited<ReturnType<typeof examineAll>>;

export interface Examination {
  /** Absolute path. */
  readonly path: string;
  readonly kernel: string;
  readonly uid: number;
  readonly findings: Findings;
  /** True if `pinless bench` could run. */
  readonly canRun: boolean;
  readonly elapsedMs: number;
}

/** Examines the machine, trying direct I/O at `path`. Rejects as node:fs does if there is no such path. */
export async function examine(path: string): Promise<Examination> {
  const began = performance.now();
  const findings = await examineAll(path);
  return {
    path: resolve(path),
    kernel: release(),
    uid: process.geteuid?.() ?? -1,
    findings,
    canRun: findings.engine.verdict !== "missing" && findings.bench.verdict !== "missing",
    elapsedMs: Math.round(performance.now() - began),
  };
}

async function examineAll(path: string) {
  const whereDirect = directIoFacts(path);
  const noAddOn = await loadLibc().then(
    () => null,
    (error: Error) => error,
  );
  // Pins are counted before anything of ours is pinned.
  const pins = examinePins({ canTry: noAddOn === null });
  const node = examineNode(noAddOn);
  const trying = <Facts>(unknown: Facts, look: () => Found<Facts>): Found<Facts> =>
    noAddOn === null ? guarded(unknown, look) : { ...missing("not tried: koffi can't be loaded"), ...unknown };
  const cgroup = memoryCgroup();
  const settings = settingsOf({}, noAddOn === null ? memlockBytes() : 0, memoryBytes());

  const place = placeOf();
  const ioUring = trying(NO_RING_FACTS, () => examineRing(settings));
  const revocation = trying(NO_REVOCATION_FACTS, () => examineRevocation(ioUring, place));
  const aio = trying(NO_AIO_FACTS, () => examineAio(settings));
  const directIo = trying(whereDirect, () => examineDirectIo(path, whereDirect));
  const memlock = trying(NO_MEMLOCK_FACTS, () => examineMemlock(settings, pins, revocation.works === true, place));
  const hugePages = trying(NO_HUGE_PAGE_FACTS, examineHugePages);
  const swap = examineSwap(cgroup.swapLimitBytes);
  const numa = examineNuma();
  const pressure = examinePressure();
  const userfaultfd = trying(NO_USERFAULTFD_FACTS, () => examineUserfaultfd(place));
  const container = examineContainer(place, ioUring, aio);
  const engine =
    noAddOn === null
      ? await examineEngine(settings).catch((error) => ({ ...missing(expected(error)), ...NO_ENGINE_FACTS }))
      : { ...missing("not tried: koffi can't be loaded"), ...NO_ENGINE_FACTS };
  const directWrites =
    noAddOn === null
      ? await examineDirectWrites(path, directIo).catch((error) => ({
          ...missing(expected(error)),
          ...NO_DIRECT_WRITE_FACTS,
        }))
      : { ...missing("not tried: koffi can't be loaded"), ...NO_DIRECT_WRITE_FACTS };
  const bench = examineBench(engine);
  return {
    node,
    ioUring,
    revocation,
    aio,
    directIo,
    directWrites,
    memlock,
    hugePages,
    swap,
    numa,
    pressure,
    userfaultfd,
    container,
    pins,
    engine,
    bench,
  };
}

function guarded<Facts>(unknown: Facts, look: () => Finding & Facts): Found<Facts> {
  try {
    return look();
  } catch (error) {
    return { ...missing(expected(error)), ...unknown };
  }
}

/**
 * Message of an error that a machine can cause (memory, WebAssembly, a permission); any other is a bug and is rethrown.
 */
function expected(error: unknown): string {
  if (error instanceof Error && "code" in error && error.code !== "ERR_PINLESS_INVARIANT") return error.message;
  throw error;
}
