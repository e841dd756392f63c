/** Progress bar on the standard error, where that is a terminal. */

import { SingleBar } from "cli-progress";

export interface ProgressBar {
  /** Shows how much is done; `doing` is text for the place of that name in the format. */
  update(done: number, total: number, doing?: string): void;
  /** Clears the bar. */
  stop(): void;
}

/** Makes a bar that appears with its first update after `afterMs`: work that is over sooner shows none. */
export function progressBar(format: string, afterMs = 0): ProgressBar {
  if (!process.stderr.isTTY) return { update: () => {}, stop: () => {} };
  const bar = new SingleBar({
    stream: process.stderr,
    format,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    // A bar wider than the terminal would be wrapped into many lines.
    barsize: Math.max(5, Math.min(30, (process.stderr.columns ?? 80) - 36)),
    hideCursor: true,
    clearOnComplete: true,
    // Commands handle signals themselves: the bar would restore the cursor and let the rest of the command go on.
    gracefulExit: false,
  });
  const began = performance.now();
  return {
    update: (done, total, doing = "") => {
      if (!bar.isActive && performance.now() - began < afterMs) return;
      if (!bar.isActive) bar.start(total, done, { doing });
      else bar.update(done, { doing });
    },
    stop: () => bar.stop(),
  };
}
