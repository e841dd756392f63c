/** Timer of the leases on the engine's own thread: runs while at least one lease is held. */

import type { Host } from "../ports/host.js";
import type { MonitorEnded, Watchdog } from "../ports/monitor.js";
import type { EngineSettings } from "../ports/options.js";
import { Pressure, SAMPLE_MS } from "../protocol/pressure.js";
import type { Protocol } from "../protocol/protocol.js";
import { note } from "./monitor-loss.js";

export class LeaseTimer {
  readonly #protocol: Protocol;
  readonly #settings: EngineSettings;
  readonly #loop: Host["loop"];
  readonly #degraded: string[];
  /** The monitor's clock of the same leases; null if the engine takes none. */
  readonly watchdog: Watchdog | null;
  #stop: (() => void) | null = null;

  constructor(
    protocol: Protocol,
    settings: EngineSettings,
    loop: Host["loop"],
    degraded: string[],
    openWatchdog: (ended: MonitorEnded) => Watchdog,
  ) {
    this.#protocol = protocol;
    this.#settings = settings;
    this.#loop = loop;
    this.#degraded = degraded;
    const { leases } = protocol;
    this.watchdog = leases === null ? null : openWatchdog((whenAgain) => this.#watchdogEnded(whenAgain));
    if (leases !== null) this.watchdog?.watch(leases.table.words);
  }

  /** Starts both clocks, after the first lease was taken. */
  start(nowMs: number): void {
    const leases = this.#protocol.leases!;
    leases.tick(nowMs);
    this.watchdog?.wake();
    if (this.#stop !== null) return;
    const clocksMs = Math.max(1, Math.min(this.#settings.idleMs, this.#settings.maxMs) / 4);
    const periodMs = leases.pressure === null ? clocksMs : Math.min(clocksMs, SAMPLE_MS);
    this.#stop = this.#loop.every(periodMs, () => {
      const now = this.#loop.nowMs();
      leases.tick(now);
      leases.checkPressure(now);
      this.#protocol.dispatcher.nudge();
      if (leases.held === 0) this.stop();
    });
  }

  stop(): void {
    this.#stop?.();
    this.#stop = null;
  }

  /** Repairs the lease table, because the monitor's thread may have ended while it was dropping a lease. */
  #watchdogEnded(whenAgain: Parameters<MonitorEnded>[0]): void {
    const { leases, dispatcher } = this.#protocol;
    leases?.completeAbandonedDrops(this.#loop.nowMs());
    dispatcher.nudge();
    whenAgain((why) => {
      if (why === "") return;
      note(this.#degraded, `the monitor thread ended: leases end by the engine's own clock (${why})`);
    });
  }
}

/** Opens the source of memory pressure; adds a sentence to `degraded` for each sign that can't be read. */
export function openPressure(host: Host, { pressure }: EngineSettings, degraded: string[]): Pressure | null {
  if (pressure === "off" || host.openPressure === undefined) return null;
  const { source, missing } = host.openPressure();
  if (source === null || pressure === "asked") degraded.push(...missing);
  return source === null ? null : new Pressure(source);
}
