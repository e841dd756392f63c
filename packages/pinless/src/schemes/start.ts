/** Starts a scheme on this kernel, or explains in one sentence why it can't be and what to change. */

import { monotonicMs } from "../linux/monotonic-clock.js";
import { explainNoAio, explainNoRing, throwIfNoDescriptor } from "../linux/probe.js";
import { whyNoSocket } from "../linux/runtime.js";
import type { StartedScheme } from "../ports/host.js";
import type { MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { EngineSettings } from "../ports/options.js";
import { EACCES, ENOSYS, EPERM } from "../protocol/errno.js";
import type { Scheme, SchemeName } from "../protocol/scheme.js";
import { AioScheme } from "./aio/aio-scheme.js";
import { DirectScheme } from "./direct/direct-scheme.js";
import { IoUringScheme } from "./io-uring/io-uring-scheme.js";
import { probeRevocation, type Revocation } from "./io-uring/revocation.js";
import { NO_ROOM_FOR_LEASE, startSteps } from "./start-steps.js";

/** Opens the watchdog that gives a ring's leases back while the engine's thread is busy. */
export type OpenWatchdog = (ringFd: number, ended: MonitorEnded) => Watchdog;

let revocation: Revocation | undefined;

export function startScheme(
  name: SchemeName,
  settings: EngineSettings,
  bufferSlots: number,
  openWatchdog: OpenWatchdog,
): StartedScheme | string {
  const noSocket = name === "direct" ? null : whyNoSocket();
  if (noSocket !== null) return `${name} can't be used: ${noSocket}.`;
  const { depth } = settings;
  if (name === "io_uring")
    return startSteps<IoUringScheme>(name, settings, bufferSlots, {
      open: (slots, woken) => {
        const scheme = IoUringScheme.open({ depth, bufferSlots: slots, woken });
        if (typeof scheme !== "number") return scheme;
        throwIfNoDescriptor(scheme, "io_uring can't be set up");
        return explainNoRing(scheme);
      },
      leases: {
        explainNone: () => explainNoLeases(revocationHere()),
        openWatchdog: (scheme, ended) => openWatchdog(scheme.fd, ended),
      },
    });
  const open = (_slots: number, woken: () => void): Scheme | string =>
    name === "aio" ? openAio(depth, woken) : new DirectScheme({ depth, woken });
  const started = startSteps(name, settings, 0, { open });
  if (typeof started !== "string" && name === "direct" && started.scheme.depth < depth)
    started.degraded.push(
      `the scheme direct has a depth of ${started.scheme.depth}, one request for each thread of libuv's pool ` +
        "(UV_THREADPOOL_SIZE): others wait",
    );
  return started;
}

function openAio(depth: number, woken: () => void): AioScheme | string {
  const scheme = AioScheme.open({ depth, woken });
  if (typeof scheme !== "number") return scheme;
  throwIfNoDescriptor(scheme, "Linux AIO can't be set up");
  return explainNoAio(scheme);
}

/** Result of the revocation test, cached unless the test itself couldn't be made. */
export function revocationHere(): Revocation {
  if (revocation === undefined || revocation.noMemory === true || revocation.errno !== undefined)
    revocation = probeRevocation(monotonicMs);
  throwIfNoDescriptor(revocation.errno ?? 0, "leases can't be tried");
  return revocation;
}

function explainNoLeases({ works, noMemory, errno, detail }: Revocation): string | null {
  if (works) return null;
  if (noMemory === true) return NO_ROOM_FOR_LEASE;
  if (errno === -EPERM || errno === -ENOSYS || errno === -EACCES)
    return (
      "leases are forbidden here, by a seccomp filter or a security module " +
      `(containers: allow io_uring_register): ${detail}`
    );
  return `leases need a kernel that releases registrations at once (6.13 or later); here: ${detail}`;
}
