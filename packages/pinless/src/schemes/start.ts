/** Starts a scheme on this kernel, or explains in one sentence why it can't be and what to change. */

import { ERRNO } from "../abi/numbers.js";
import { monotonicMs } from "../linux/monotonic-clock.js";
import { explainNoAio, explainNoRing, throwIfNoDescriptor } from "../linux/probe.js";
import { whyNoSocket } from "../linux/runtime.js";
import type { StartedScheme } from "../ports/host.js";
import type { MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { EngineSettings } from "../ports/options.js";
import type { SchemeName } from "../protocol/scheme.js";
import { AioScheme } from "./aio/aio-scheme.js";
import { DirectScheme } from "./direct/direct-scheme.js";
import { IoUringScheme } from "./io-uring/io-uring-scheme.js";
import { probeRevocation, type Revocation } from "./io-uring/revocation.js";

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
  switch (name) {
    case "io_uring":
      return startIoUring(settings, bufferSlots, openWatchdog);
    case "aio":
      return startAio(settings);
    case "direct":
      return startDirect(settings);
  }
}

/** Result of the revocation test, cached unless the test itself couldn't be made. */
export function revocationHere(): Revocation {
  if (revocation === undefined || revocation.noMemory === true || revocation.errno !== undefined)
    revocation = probeRevocation(monotonicMs);
  throwIfNoDescriptor(revocation.errno ?? 0, "leases can't be tried");
  return revocation;
}

/** Makes a wake-up whose handler is set later, because the scheme is created before the engine. */
function wakeLater(): { woken: () => void; onWoken: (run: () => void) => void } {
  let wake = (): void => {};
  return {
    woken: () => wake(),
    onWoken: (run) => {
      wake = run;
    },
  };
}

function startIoUring(
  settings: EngineSettings,
  bufferSlots: number,
  openWatchdog: OpenWatchdog,
): StartedScheme | string {
  const { woken, onWoken } = wakeLater();
  const degraded: string[] = [];
  let { pin } = settings;
  if (pin === "lease") {
    const revocation = revocationHere();
    if (!revocation.works) {
      pin = "per-io";
      degraded.push(`${explainNoLeases(revocation)}. I/O goes per-io`);
    }
  }
  const scheme = IoUringScheme.open({ depth: settings.depth, bufferSlots: pin === "per-io" ? 0 : bufferSlots, woken });
  if (typeof scheme === "number") {
    throwIfNoDescriptor(scheme, "io_uring can't be set up");
    return explainNoRing(scheme);
  }
  return { scheme, pin, degraded, onWoken, openWatchdog: (ended) => openWatchdog(scheme.fd, ended) };
}

function explainNoLeases({ noMemory, errno, detail }: Revocation): string {
  if (noMemory === true) return "RLIMIT_MEMLOCK leaves no room for a lease: raise it (ulimit -l)";
  if (errno === -ERRNO.EPERM || errno === -ERRNO.ENOSYS || errno === -ERRNO.EACCES)
    return (
      "leases are forbidden here, by a seccomp filter or a security module " +
      `(containers: allow io_uring_register): ${detail}`
    );
  return `leases need a kernel that releases registrations at once (6.13 or later); here: ${detail}`;
}

function startAio(settings: EngineSettings): StartedScheme | string {
  const { woken, onWoken } = wakeLater();
  const scheme = AioScheme.open({ depth: settings.depth, woken });
  if (typeof scheme === "number") {
    throwIfNoDescriptor(scheme, "Linux AIO can't be set up");
    return explainNoAio(scheme);
  }
  return { scheme, onWoken, ...perIo(scheme.name, settings) };
}

function startDirect(settings: EngineSettings): StartedScheme {
  const { woken, onWoken } = wakeLater();
  const scheme = new DirectScheme({ depth: settings.depth, woken });
  const started = { scheme, onWoken, ...perIo(scheme.name, settings) };
  if (scheme.depth < settings.depth)
    started.degraded.push(
      `the scheme direct has a depth of ${scheme.depth}, one request for each thread of libuv's pool ` +
        "(UV_THREADPOOL_SIZE): others wait",
    );
  return started;
}

/** Common properties of the schemes without registrations. */
function perIo(name: SchemeName, { pin }: EngineSettings): Pick<StartedScheme, "pin" | "degraded" | "openWatchdog"> {
  const degraded: string[] = [];
  if (pin !== "per-io")
    degraded.push(
      `the scheme ${name} registers nothing, so pin "${pin}" is "per-io": ` +
        "pages are pinned only while a request is in flight",
    );
  return {
    pin: "per-io",
    degraded,
    openWatchdog: () => {
      throw new Error("a scheme without registrations has no leases to watch");
    },
  };
}
