/** Runs the monitor's state machine on this thread, which sleeps where a step waits. */

import { sleep } from "../linux/sleep.js";
import type { MonitorMachine } from "../protocol/monitor/state-machine.js";

/** Takes steps until the machine is watching again. `drain` is the word that a step may wait for. */
export function perform(monitor: MonitorMachine, drain: Int32Array): void {
  for (let wait = monitor.step(); wait !== null; wait = monitor.step()) {
    const { ms, whileWord } = wait;
    if (ms === 0) continue;
    if (whileWord === null) sleep(ms);
    else Atomics.wait(drain, 0, whileWord, ms);
  }
}
