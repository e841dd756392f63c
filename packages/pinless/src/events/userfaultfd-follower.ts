/**
 * Runs the monitor's program (protocol/monitor/program.ts) on the real kernel: with a userfaultfd, the threads in
 * /proc, and sleep.
 */

import { openReadiness } from "../linux/readiness.js";
import { threadCalls } from "../linux/thread-calls.js";
import { Userfaultfd } from "../linux/userfaultfd.js";
import type { LeaseClock } from "../protocol/monitor/lease-clock.js";
import type { MonitorReport } from "../protocol/monitor/messages.js";
import { LAST_LOOK_MS } from "../protocol/monitor/pending-discards.js";
import { MonitorProgram } from "../protocol/monitor/program.js";
import type { Range } from "../protocol/ranges/ranges.js";
import type { FollowMessage, MonitorData } from "./monitor-messages.js";
import { perform, sleep } from "./run-coroutine.js";

export interface FollowerParts {
  readonly data: MonitorData;
  readonly leases: LeaseClock;
  post(message: MonitorReport): void;
  /** Handles messages that the engine's thread has sent meanwhile, above all which segments to follow. */
  obey(): void;
}

export class Follower {
  readonly #parts: FollowerParts;
  readonly #userfaultfd: Userfaultfd;
  readonly #program: MonitorProgram;
  #arm: () => void = () => {};
  #looking = false;

  private constructor(parts: FollowerParts, userfaultfd: Userfaultfd) {
    const { drain, reading, ownTid, ourTids } = parts.data;
    this.#parts = parts;
    this.#userfaultfd = userfaultfd;
    this.#program = new MonitorProgram({
      drain,
      reading,
      ownTid,
      ourTids,
      threads: threadCalls,
      leases: parts.leases,
      nowMs: () => performance.now(),
      next: () => userfaultfd.next(),
      post: (report) => parts.post(report),
    });
  }

  /** Opens a follower; returns -errno if there is no userfaultfd, or no way to poll it. */
  static open(parts: FollowerParts): Follower | number {
    const userfaultfd = Userfaultfd.open(parts.data.reading.buffer as SharedArrayBuffer);
    if (typeof userfaultfd === "number") return userfaultfd;
    const follower = new Follower(parts, userfaultfd);
    const arm = openReadiness(userfaultfd.fd, () => follower.#readable());
    if (typeof arm === "number") {
      userfaultfd.close();
      return arm;
    }
    follower.#arm = arm;
    arm();
    return follower;
  }

  /** Closes it, once nothing is followed any more, so that no caller can be waiting. */
  close(): void {
    this.#userfaultfd.close();
  }

  /** Follows a segment; returns 0 or -errno. */
  follow(segment: FollowMessage): number {
    this.#program.follow(segment);
    const errno = this.#userfaultfd.register(segment.range);
    if (errno < 0) this.#program.unfollow(segment.id);
    return errno;
  }

  /** Stops following a segment, of which `pieces` are left. */
  unfollow(id: number, pieces: readonly Range[]): number {
    if (!this.#program.unfollow(id)) return 0;
    let errno = 0;
    for (const piece of pieces) errno = Math.min(errno, this.#userfaultfd.unregister(piece));
    return errno;
  }

  #readable(): void {
    this.#parts.obey();
    perform(this.#program.serve(), this.#parts.data.drain);
    this.#arm();
    this.#lookSoon();
  }

  /** Looks again at growing intervals while any change is pending. */
  #lookSoon(): void {
    if (this.#looking) return;
    const ms = this.#program.nextLookMs();
    if (ms === null) return;
    this.#looking = true;
    const again = (): void => {
      this.#looking = false;
      this.#program.look();
      this.#lookSoon();
    };
    if (ms >= LAST_LOOK_MS) {
      setTimeout(again, ms);
      return;
    }
    // Delays below a millisecond are too short for a timer.
    if (ms > 0) sleep(ms);
    setImmediate(again);
  }
}
