/** Implements the engine's `Loop` port with Node's event loop. */

import type { Loop } from "../protocol/scheme.js";
import { monotonicMs } from "./monotonic-clock.js";
import { clearInterval, queueMicrotask, setImmediate, setInterval, setTimeout } from "./originals.js";

export const loop: Loop = {
  nowMs: () => monotonicMs() | 0,
  preciseMs: monotonicMs,
  microtask: (run) => queueMicrotask(run),
  soon: (run) => void setImmediate(run),
  every(ms, run) {
    const timer = setInterval(run, ms);
    timer.unref();
    return () => clearInterval(timer);
  },
  after: (ms, run) => void setTimeout(run, ms),
  // The error is thrown from a callback of its own, so that our caller goes on.
  uncaught: (error) =>
    void setImmediate(() => {
      throw error;
    }),
};
