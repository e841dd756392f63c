/** Tests io_uring, the release of registrations, and Linux AIO, each by using it. */

import { release } from "node:os";
import {
  AioContext,
  type EngineSettings,
  EPERM,
  explainNoAio,
  explainNoRing,
  IO_URING,
  RegisteredBuffers,
  Ring,
  revocationHere,
} from "pinless/internal";
import { countText } from "../command/figures.js";
import { degraded, errnoName, type Found, missing, ok } from "./finding.js";
import { readNumber } from "./kernel-files.js";
import { memlockRemedy, type Place } from "./place.js";

export interface RingFacts {
  /** Errno of a refused ring, e.g. "EPERM", or null. */
  readonly errno: string | null;
  /** The sysctls kernel.io_uring_disabled and kernel.io_uring_group; null on kernels without them. */
  readonly disabled: number | null;
  readonly group: number | null;
  /** True if the queues are in memory of this process. */
  readonly ownMemory: boolean | null;
  /** True if the buffer table supports tags, which leases need. */
  readonly sparseTaggedBuffers: boolean | null;
}

export const NO_RING_FACTS: RingFacts = {
  errno: null,
  disabled: null,
  group: null,
  ownMemory: null,
  sparseTaggedBuffers: null,
};

/** Opens a ring as large as the engine's. */
export function examineRing({ depth, slots }: EngineSettings): Found<RingFacts> {
  const disabled = readNumber("/proc/sys/kernel/io_uring_disabled");
  const group = readNumber("/proc/sys/kernel/io_uring_group");
  const ring = Ring.open({
    entries: 2 * depth,
    completions: 2 * depth + slots,
    flags: IO_URING.IORING_SETUP_COOP_TASKRUN | IO_URING.IORING_SETUP_TASKRUN_FLAG,
  });
  if (typeof ring === "number") {
    const remedies = [explainNoRing(ring)];
    if (disabled === 1 && ring === -EPERM)
      remedies.push(
        `With 1 it's available to members of the group in sysctl kernel.io_uring_group (${group}), and with ` +
          "CAP_SYS_ADMIN.",
      );
    const facts = { ...NO_RING_FACTS, errno: errnoName(ring), disabled, group };
    return { ...missing(`refused with ${facts.errno} on Linux ${release()}`, ...remedies), ...facts };
  }
  const table = RegisteredBuffers.open(ring, 1, 1);
  const { inOwnMemory: ownMemory } = ring;
  ring.close();
  const facts = { errno: null, disabled, group, ownMemory, sparseTaggedBuffers: typeof table !== "number" };
  const there = `Linux ${release()}, a ring of ${2 * depth}`;
  if (typeof table === "number")
    return {
      ...degraded(`${there}; no sparse buffer table (${errnoName(table)})`, "Leases need Linux 5.19 or later."),
      ...facts,
    };
  if (!ownMemory)
    return {
      ...degraded(
        `${there} in the kernel's memory; sparse tagged buffers`,
        "A ring in memory of the process needs Linux 6.5, and 6.10 for it to be in several pieces; without it a " +
          "terminated worker's ring and pins stay until the process ends.",
      ),
      ...facts,
    };
  return { ...ok(`${there} in memory of its own; sparse tagged buffers`), ...facts };
}

export interface RevocationFacts {
  readonly works: boolean | null;
  /** Milliseconds from dropping a registration to its tag: alone, and with a read pending on another slot. */
  readonly idleMs: number | null;
  readonly busyMs: number | null;
}

export const NO_REVOCATION_FACTS: RevocationFacts = { works: null, idleMs: null, busyMs: null };

export function examineRevocation(ring: RingFacts, place: Place): Found<RevocationFacts> {
  if (ring.errno !== null) return { ...missing("not tried: there is no ring"), ...NO_REVOCATION_FACTS };
  const { works, detail, noMemory, idleMs = null, busyMs = null } = revocationHere();
  const facts = { works, idleMs, busyMs };
  if (works) return { ...ok(`registrations are released at once: ${detail}`), ...facts };
  const remedy =
    noMemory === true
      ? `A lease needs room in RLIMIT_MEMLOCK. ${memlockRemedy(place, 1 << 30)}`
      : "Leases need a kernel that releases registrations at once: 6.13 or later. Without them I/O goes per-io.";
  return { ...degraded(detail, remedy), ...facts };
}

export interface AioFacts {
  readonly errno: string | null;
  /** Sysctls of the whole machine: fs.aio-nr, fs.aio-max-nr, and their difference. */
  readonly usedEvents: number | null;
  readonly maxEvents: number | null;
  readonly freeEvents: number | null;
}

export const NO_AIO_FACTS: AioFacts = { errno: null, usedEvents: null, maxEvents: null, freeEvents: null };

/** Opens a context as large as the engine's. */
export function examineAio({ depth }: EngineSettings): Found<AioFacts> {
  const usedEvents = readNumber("/proc/sys/fs/aio-nr");
  const maxEvents = readNumber("/proc/sys/fs/aio-max-nr");
  // After fs.aio-max-nr was lowered, more may be in use than that.
  const freeEvents = usedEvents === null || maxEvents === null ? null : Math.max(0, maxEvents - usedEvents);
  const context = AioContext.open({ depth });
  if (typeof context === "number") {
    const facts = { errno: errnoName(context), usedEvents, maxEvents, freeEvents };
    return { ...missing(`a context for ${depth} was refused with ${facts.errno}`, explainNoAio(context)), ...facts };
  }
  context.close();
  const left = freeEvents === null ? "" : `; ${countText(freeEvents)} of ${countText(maxEvents ?? 0)} events are left`;
  return { ...ok(`a context for ${depth} opens${left}`), errno: null, usedEvents, maxEvents, freeEvents };
}
