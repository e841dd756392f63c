/**
 * The monitor thread: runs the state machine of the monitor (protocol/monitor/state-machine.ts) on a userfaultfd, on
 * what /proc shows of the threads, and on timers. It touches no arena memory and takes no lock that the engine holds.
 * It never blocks for long, because the end of a thread or process waits for it.
 */

import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { BufferUpdate } from "../linux/buffer-update.js";
import { hasLoaded } from "../linux/ffi-startup.js";
import { loadLibc } from "../linux/libc-bindings.js";
import { monotonicMs } from "../linux/monotonic-clock.js";
import { openReadiness } from "../linux/readiness.js";
import { sleep } from "../linux/sleep.js";
import { threadCalls } from "../linux/thread-calls.js";
import { Userfaultfd } from "../linux/userfaultfd.js";
import { LeaseClock } from "../protocol/monitor/lease-clock.js";
import { MonitorLoop } from "../protocol/monitor/monitor-loop.js";
import { LAST_LOOK_MS } from "../protocol/monitor/pending-discards.js";
import { MonitorMachine } from "../protocol/monitor/state-machine.js";
import type { FollowMessage, FromMonitor, MonitorData, ToMonitor, UnfollowMessage } from "./monitor-messages.js";
import { perform } from "./perform.js";

const port = parentPort!;
const { loading, drain, reading, ownTid, ourTids } = workerData as MonitorData;
const post = (message: FromMonitor): void => port.postMessage(message);
const leases = new LeaseClock();
/** Opened with the first segment. */
let userfaultfd: Userfaultfd | null = null;
let arm = (): void => {};

const monitor = new MonitorMachine({
  drain,
  reading,
  ownTid,
  ourTids,
  threads: threadCalls,
  leases,
  nowMs: () => performance.now(),
  next: () => userfaultfd?.next() ?? null,
  post,
});
const loop = new MonitorLoop({
  monitor,
  run(begin, done) {
    begin();
    perform(monitor, drain);
    done();
  },
  lookAfter(ms, look) {
    if (ms >= LAST_LOOK_MS) setTimeout(look, ms);
    else {
      // Too short for a timer.
      if (ms > 0) sleep(ms);
      setImmediate(look);
    }
  },
  tickAfter(ms, tick) {
    const timer = setTimeout(tick, ms);
    return () => clearTimeout(timer);
  },
  leaseNowMs: () => monotonicMs() | 0,
  obey() {
    for (let m = receiveMessageOnPort(port); m !== undefined; m = receiveMessageOnPort(port))
      obey(m.message as ToMonitor);
  },
  arm: () => arm(),
});

await loadLibc();
hasLoaded(loading);
port.on("message", obey);
post({ kind: "ready" });

function obey(message: ToMonitor): void {
  switch (message.kind) {
    case "watch": {
      const update = new BufferUpdate(message.ringFd);
      leases.watch(message.id, message.leases, (slot) => void update.set(slot, 0, 0, 0, 0));
      break;
    }
    case "unwatch":
      leases.unwatch(message.id);
      break;
    case "wake":
      loop.tick();
      break;
    case "follow":
      post({ kind: "answer", id: message.id, errno: follow(message) });
      break;
    case "unfollow":
      post({ kind: "answer", id: message.id, errno: unfollow(message) });
      break;
    case "end":
      // Nothing is followed any more, so no thread waits that closing would let go.
      userfaultfd?.close();
      process.exit(0);
  }
}

/** Opens the userfaultfd and its readiness notification; returns 0 or -errno. */
function open(): number {
  const opened = Userfaultfd.open(reading.buffer as SharedArrayBuffer);
  if (typeof opened === "number") return opened;
  const armed = openReadiness(opened.fd, loop.readable);
  if (typeof armed === "number") {
    opened.close();
    return armed;
  }
  userfaultfd = opened;
  arm = armed;
  arm();
  return 0;
}

/** Follows a segment; returns 0 or -errno. */
function follow(segment: FollowMessage): number {
  const failed = userfaultfd === null ? open() : 0;
  if (failed < 0) return failed;
  monitor.segments.add(segment);
  const errno = userfaultfd!.register(segment.range);
  if (errno < 0) monitor.segments.delete(segment.id);
  return errno;
}

function unfollow({ id, pieces }: UnfollowMessage): number {
  if (!monitor.segments.delete(id)) return 0;
  let errno = 0;
  for (const piece of pieces) errno = Math.min(errno, userfaultfd!.unregister(piece));
  return errno;
}
