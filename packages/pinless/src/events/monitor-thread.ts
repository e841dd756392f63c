/**
 * The monitor thread: follows other code's memory calls, and gives leases back while an engine's own thread is too busy
 * to. It touches no arena memory and takes no lock that the engine holds. It never blocks for long, because the end of
 * a thread or process waits for it.
 */

import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { hasLoaded } from "../linux/ffi-startup.js";
import { loadLibc } from "../linux/libc-bindings.js";
import { LeaseTimer } from "./lease-timer.js";
import type { FollowMessage, FromMonitor, MonitorData, ToMonitor } from "./monitor-messages.js";
import { Follower } from "./userfaultfd-follower.js";

const port = parentPort!;
const post = (message: FromMonitor): void => port.postMessage(message);
const leases = new LeaseTimer();
/** Opened for the first segment. */
let follower: Follower | undefined;

await loadLibc();
hasLoaded((workerData as MonitorData).loading);
port.on("message", obey);
post({ kind: "ready" });

function obey(message: ToMonitor): void {
  switch (message.kind) {
    case "watch":
      leases.watch(message.id, message.leases, message.ringFd);
      break;
    case "unwatch":
      leases.clock.unwatch(message.id);
      break;
    case "wake":
      leases.tick();
      break;
    case "follow":
      post({ kind: "answer", id: message.id, errno: follow(message) });
      break;
    case "unfollow":
      post({ kind: "answer", id: message.id, errno: follower?.unfollow(message.id, message.pieces) ?? 0 });
      break;
    case "end":
      follower?.close();
      process.exit(0);
  }
}

/** Follows a segment; returns 0 or -errno. */
function follow(message: FollowMessage): number {
  if (follower === undefined) {
    const opened = Follower.open({ data: workerData as MonitorData, leases: leases.clock, post, obey: obeyAll });
    if (typeof opened === "number") return opened;
    follower = opened;
  }
  return follower.follow(message);
}

function obeyAll(): void {
  for (let m = receiveMessageOnPort(port); m !== undefined; m = receiveMessageOnPort(port))
    obey(m.message as ToMonitor);
}
