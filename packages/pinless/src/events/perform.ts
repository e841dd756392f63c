/** Has the monitor's state machine take its steps on this thread, which sleeps where they wait. */

import type { MonitorMachine } from "../protocol/monitor/state-machine.js";

const nobodyWrites = new Int32Array(new SharedArrayBuffer(4));

export function sleep(ms: number): void {
  Atomics.wait(nobodyWrites, 0, 0, ms);
}

/** Until it's watching again. `drain`: the word that steps may wait for. */
export function perform(monitor: MonitorMachine, drain: Int32Array): void {
  for (let wait = monitor.step(); wait !== null; wait = monitor.step()) {
    const { ms, whileWord } = wait;
    if (ms === 0) continue;
    if (whileWord === null) sleep(ms);
    else Atomics.wait(drain, 0, whileWord, ms);
  }
}
