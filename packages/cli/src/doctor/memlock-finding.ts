/** RLIMIT_MEMLOCK: the limit, what the user's other processes have used of it, and what is really left. */

import {
  addressOf,
  availableBytes,
  type EngineSettings,
  fixedMemory,
  IO_URING,
  memlockBytes,
  RegisteredBuffers,
  Ring,
  readText,
} from "pinless/internal";
import { bytesText } from "../command/figures.js";
import { degraded, type Found, ok } from "./finding.js";
import type { PinFacts } from "./pins.js";
import { memlockRemedy, type Place } from "./place.js";

const MIB = 1 << 20;
const STEP_BYTES = 65536;
/** Largest room that is tried, since more isn't worth the memory that trying takes. */
const TRIED_BYTES = 64 * MIB;
/** Budget that is enough for all but the largest arenas. */
const ENOUGH_BYTES = 512 * MIB;

export interface MemlockFacts {
  /** Soft and hard limit as configured; null for none. They don't apply with CAP_IPC_LOCK. */
  readonly limitBytes: number | null;
  readonly hardLimitBytes: number | null;
  readonly limited: boolean | null;
  /** VmPin of the user's other processes, as far as /proc shows them. */
  readonly othersPinnedBytes: number | null;
  /**
   * Bytes that can be pinned now. Tried up to 64 MiB if registrations are released promptly, otherwise calculated; null
   * if there is plenty.
   */
  readonly leftBytes: number | null;
  readonly leftBy: "trial" | "reckoning" | null;
  /** Default budget of an engine's leases. */
  readonly budgetBytes: number | null;
}

export const NO_MEMLOCK_FACTS: MemlockFacts = {
  limitBytes: null,
  hardLimitBytes: null,
  limited: null,
  othersPinnedBytes: null,
  leftBytes: null,
  leftBy: null,
  budgetBytes: null,
};

/** Examines the limit. `canTry`: registrations are released promptly here. */
export function examineMemlock(
  settings: EngineSettings,
  { processes }: PinFacts,
  canTry: boolean,
  place: Place,
): Found<MemlockFacts> {
  const uid = process.getuid?.() ?? -1;
  const others = processes.filter((each) => each.uid === uid && each.pid !== process.pid);
  const othersPinnedBytes = others.reduce((sum, { pinnedBytes }) => sum + pinnedBytes, 0);
  const allowedBytes = memlockBytes();
  const { chunkBytes, budgetBytes } = settings;
  const limits = limitsOfProcess();
  if (allowedBytes === Number.POSITIVE_INFINITY) {
    const why = limits.limitBytes === null ? "unlimited" : "CAP_IPC_LOCK";
    const facts = { ...limits, limited: false, othersPinnedBytes, leftBytes: null, leftBy: null, budgetBytes };
    return { ...ok(`no limit on pins (${why}); an engine's leases take ${bytesText(budgetBytes)} at most`), ...facts };
  }
  const tried = canTry ? roomByTrial(allowedBytes) : null;
  const leftBytes = tried ?? Math.max(0, allowedBytes - othersPinnedBytes);
  const leftBy = tried === null ? ("reckoning" as const) : ("trial" as const);
  const facts = { ...limits, limited: true, othersPinnedBytes, leftBytes, leftBy, budgetBytes };
  const found = [
    `${bytesText(allowedBytes)} for all of this user's processes`,
    ...(othersPinnedBytes > 0 ? [`others have pinned ${bytesText(othersPinnedBytes)}`] : []),
    `left: ${leftText(leftBytes, leftBy)}`,
    leftBytes < chunkBytes
      ? `no lease of ${bytesText(chunkBytes)} fits`
      : `an engine's leases take ${bytesText(budgetBytes)} at most`,
  ].join("; ");
  const enough = ENOUGH_BYTES;
  if (leftBytes >= chunkBytes && budgetBytes >= enough) return { ...ok(found), ...facts };
  const raise = `What doesn't fit goes per-io. For ${bytesText(2 * enough)}: ${memlockRemedy(place, 2 * enough)}`;
  return { ...degraded(found, raise), ...facts };
}

function leftText(bytes: number, by: "trial" | "reckoning"): string {
  // No file tells what rings are charged with.
  if (by === "reckoning") return `at most ${bytesText(bytes)}, rings not counted`;
  return bytes === TRIED_BYTES ? `${bytesText(bytes)} or more` : bytesText(bytes);
}

/** Parses the line "Max locked memory  8388608  8388608  bytes". */
function limitsOfProcess(): Pick<MemlockFacts, "limitBytes" | "hardLimitBytes"> {
  const [, soft, hard] = /^Max locked memory\s+(\S+)\s+(\S+)/m.exec(readText("/proc/self/limits") ?? "") ?? [];
  const bytes = (text: string | undefined): number | null =>
    text === undefined || text === "unlimited" ? null : Number(text);
  return { limitBytes: bytes(soft), hardLimitBytes: bytes(hard) };
}

/** Largest registration that the kernel accepts beside a small ring; null if it can't be tried. */
function roomByTrial(allowedBytes: number): number | null {
  const most = Math.floor(Math.min(allowedBytes, TRIED_BYTES, availableBytes() / 4) / STEP_BYTES);
  const ring = Ring.open({ entries: 4, completions: 16, flags: IO_URING.IORING_SETUP_COOP_TASKRUN });
  if (typeof ring === "number") return null;
  try {
    const buffers = RegisteredBuffers.open(ring, 1, 1);
    if (typeof buffers === "number") return null;
    const address = addressOf(fixedMemory(Math.max(1, most) * STEP_BYTES));
    let fits = 0;
    let tooMuch = most + 1;
    while (tooMuch - fits > 1) {
      const middle = Math.floor((fits + tooMuch) / 2);
      if (buffers.take(0, address, middle * STEP_BYTES) < 0) tooMuch = middle;
      else {
        buffers.drop(0);
        fits = middle;
      }
    }
    return fits * STEP_BYTES;
  } finally {
    ring.close();
  }
}
