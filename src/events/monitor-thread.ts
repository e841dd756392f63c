/**
 * The monitor thread: while an engine's own thread doesn't look after its leases (its heartbeat stalls), this one gives back what is idle
 * or was held too long. It touches no memory of an arena, allocates nothing for it, and takes no lock the engine holds.
 */

import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { claim, forEachDue, HEARTBEAT_MS, HELD_SLOTS, IDLE_MS, MAX_MS, returned } from "../core/lease-table.js";
import { BufferUpdate } from "../linux/buffer-update.js";
import { monotonicMs } from "../linux/clock.js";
import { loadLibc } from "../linux/libc.js";
import type { MonitorMessage } from "./monitor.js";

interface Watched {
  readonly id: number;
  readonly leases: Int32Array;
  readonly update: BufferUpdate;
}

const bell = workerData as Int32Array;
const watched: Watched[] = [];

await loadLibc();
parentPort!.postMessage("ready");
for (;;) {
  const rung = Atomics.load(bell, 0);
  for (let m = receiveMessageOnPort(parentPort!); m !== undefined; m = receiveMessageOnPort(parentPort!))
    obey(m.message as MonitorMessage);
  const sleepMs = lookAfterAll();
  Atomics.wait(bell, 0, rung, sleepMs);
}

function obey(message: MonitorMessage): void {
  if (message.kind === "watch") {
    const { id, leases, ringFd } = message;
    watched.push({ id, leases, update: new BufferUpdate(ringFd) });
  } else {
    const place = watched.findIndex(({ id }) => id === message.id);
    if (place >= 0) watched.splice(place, 1);
  }
}

/** Drops what is due; returns how long to sleep. */
function lookAfterAll(): number {
  let sleepMs = Number.POSITIVE_INFINITY;
  const nowMs = monotonicMs() | 0;
  for (const { leases, update } of watched) {
    if (Atomics.load(leases, HELD_SLOTS) === 0) continue;
    const periodMs = Math.max(1, Math.min(Atomics.load(leases, IDLE_MS), Atomics.load(leases, MAX_MS)) / 4);
    sleepMs = Math.min(sleepMs, periodMs);
    // The engine looks once a period; two missed are a stall.
    if (((nowMs - Atomics.load(leases, HEARTBEAT_MS)) | 0) < 2 * periodMs) continue;
    forEachDue(leases, nowMs, (slot) => {
      if (!claim(leases, slot)) return;
      update.set(slot, 0, 0, 0, 0);
      returned(leases, slot);
    });
  }
  return sleepMs;
}
