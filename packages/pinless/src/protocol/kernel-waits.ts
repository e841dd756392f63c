/**
 * Decides when the engine's thread waits for completions in the kernel instead of in the event loop. A request that
 * completes a little later takes two system calls that way, and four by a wakeup of the loop: hand it over, arm the
 * wakeup, sleep, read the wakeup's socket. Sockets of the loop end such a wait; its timers have to wait for it.
 */

/** A wait that took longer wasn't worth it. */
const WORTH_MS = 0.25;
/** A turn that has waited for that long in all lets the loop go on. */
const TURN_MS = 0.25;
/** A wait that ended sooner found its completions there: this device completes requests as they're handed over. */
const INLINE_MS = 0.003;
/** The loop took longer to come round: it has other work, which a wait would delay. */
const OTHER_WORK_MS = 0.02;
/**
 * Time without waits after one that the loop has ended, because sockets are in use then. An echo by TCP, 1,000 times a
 * second beside reads one at a time, took 0.8 to 1.3 ms at the 99th percentile otherwise, and 0.3 to 0.5 ms with this.
 */
const SOCKETS_MS = 100;
/** Most occasions to wait that are passed over after one that wasn't worth it. Each doubles their number. */
const MAX_PASSED_OVER = 1023;

export class KernelWaits {
  private toPassOver = 0;
  private passedOver = 0;
  private scheduledMs = 0;
  private turnBeganMs = 0;
  private beganMs = 0;
  private notBeforeMs = 0;

  /** Takes an occasion to wait: true if a turn is to be scheduled for it, at the end of this round of the loop. */
  isDue(nowMs: number): boolean {
    if (nowMs < this.notBeforeMs) return false;
    if (this.passedOver < this.toPassOver) {
      this.passedOver++;
      return false;
    }
    this.scheduledMs = nowMs;
    return true;
  }

  /** Begins that turn: false if the loop has other work, so that it shouldn't wait. */
  beginTurn(nowMs: number): boolean {
    this.turnBeganMs = nowMs;
    return nowMs - this.scheduledMs < OTHER_WORK_MS;
  }

  begin(nowMs: number): void {
    this.beganMs = nowMs;
  }

  /** Ends a wait, `byLoop` if the loop has something to serve. Returns true if the next one is due at once. */
  end(nowMs: number, completions: number, byLoop: boolean): boolean {
    if (byLoop) {
      this.notBeforeMs = nowMs + SOCKETS_MS;
      return false;
    }
    const isWorth = completions > 0 && nowMs - this.beganMs < WORTH_MS;
    this.toPassOver = isWorth ? 0 : Math.min(MAX_PASSED_OVER, 2 * this.toPassOver + 1);
    this.passedOver = 0;
    return isWorth;
  }

  /** True if the same turn may wait again, after a wait that ended now. */
  mayGoOn(nowMs: number): boolean {
    return nowMs - this.beganMs > INLINE_MS && nowMs - this.turnBeganMs < TURN_MS;
  }
}
