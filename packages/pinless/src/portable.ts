/**
 * The engine and the protocol without a kernel, for the lab and for tests. The exports may change in any version. It
 * runs in a browser too, where `files/browser-runtime.ts` takes the place of `files/node-runtime.ts`.
 */

import { PortableEngine } from "./engine/engine.js";
import type { Host, StartedScheme } from "./ports/host.js";
import type { EngineSettings } from "./ports/options.js";

export { MMAN, memorySyscalls } from "./abi/numbers.js";
export type { PortableEngine } from "./engine/engine.js";
export { startFirst } from "./engine/scheme-choice.js";
export type { FollowMessage, ToMonitor, UnfollowMessage } from "./events/monitor-messages.js";
export { type MonitorPort, MonitorSupervisor } from "./events/monitor-supervisor.js";
export type { FilePart, MemoryKernel, Steps } from "./memory/memory-kernel.js";
export { runOperation } from "./memory/operations.js";
export { type Host, NO_ROOM_FOR_RING, type StartedScheme, type WaitHistogram } from "./ports/host.js";
export type { LockKind, Memory, MemoryRequest, MemoryResult } from "./ports/memory.js";
export type { Follower, MonitorEnded, Watchdog } from "./ports/monitor.js";
export type { DescriptorCalls, NodeHandle, OpenedFile } from "./ports/opened-file.js";
export { O_CREAT, O_RDWR } from "./ports/opened-file.js";
export { type EngineOptions, type EngineSettings, settingsOf } from "./ports/options.js";
export type { OperationReport } from "./ports/stats.js";
export { COUNTED, DIRECT_WRITE, type Done, type Owner, WAITS } from "./protocol/acceptance.js";
export { INVARIANTS, type Invariant, InvariantViolation, invariant, violated } from "./protocol/assert.js";
export type { AttachedEngine, Stopped, ToAttached } from "./protocol/attached-engines.js";
export { Attachment } from "./protocol/attachment.js";
export * as CHUNK from "./protocol/chunk-table.js";
export {
  ANNOUNCED_BEGUN,
  ANNOUNCED_ENDED,
  CHUNK_WORDS,
  ChunkTable,
  LEASE,
  MISSED,
  MISSED_SINCE_MS,
  type OwnerWords,
  USED_MS,
} from "./protocol/chunk-table.js";
export { type Direction, READ, WRITE } from "./protocol/direction.js";
export type { Dispatcher } from "./protocol/dispatcher.js";
export {
  EACCES,
  EAGAIN,
  EBADF,
  EBUSY,
  ECANCELED,
  EFAULT,
  EFBIG,
  EINTR,
  EINVAL,
  EIO,
  ENOENT,
  ENOMEM,
  ENOSPC,
  EOPNOTSUPP,
} from "./protocol/errno.js";
export { type DescribeErrno, systemError } from "./protocol/errors.js";
export { CONCERNS, MMU_EVENTS, type MmuEvent } from "./protocol/events.js";
export type { ForeignCalls } from "./protocol/foreign-calls.js";
export { RWF } from "./protocol/how.js";
export {
  claim,
  DROPPED,
  FREE,
  forEachDue,
  forEachLive,
  GONE,
  HELD_SLOTS,
  IDLE_MS,
  type LeaseTable,
  LIVE,
  LIVE_CLEAN,
  leaseWords,
  MAX_SEGMENTS,
  MAX_SLOTS,
  RESIDENCY_MAX_MS,
  returned,
  TAKEN,
} from "./protocol/lease-table.js";
export type { Leases } from "./protocol/leases.js";
export {
  type Caller,
  type MemoryEvent,
  RUNNING,
  type ThreadCalls,
  UNSEEN,
} from "./protocol/monitor/caller-tracking.js";
export { type MonitorClient, MonitorClients } from "./protocol/monitor/clients.js";
export {
  announce,
  announceUnmap,
  beginReading,
  conclude,
  endReading,
  type SegmentChunks,
  unmapHeard,
} from "./protocol/monitor/deferred-changes.js";
export { LeaseClock } from "./protocol/monitor/lease-clock.js";
export { DRAIN, type MonitorReport, stateOf } from "./protocol/monitor/messages.js";
export { MonitorLoop } from "./protocol/monitor/monitor-loop.js";
export { MONITOR, MonitorMachine, type MonitorState } from "./protocol/monitor/state-machine.js";
export type { Invalidation, MmuNotifier, Subscriber } from "./protocol/notifier.js";
export type { PressureSource } from "./protocol/pressure.js";
export { type LeaseParts, Protocol } from "./protocol/protocol.js";
export { LARGEST_PAGE_BYTES, PAGE_BYTES } from "./protocol/ranges/pages.js";
export { RangeSet } from "./protocol/ranges/range-set.js";
export { alignDown, alignUp, intersect, overlaps, type Range, without } from "./protocol/ranges/ranges.js";
export { ACCEPTED, FREE as REQUEST_FREE, REQUEST_SHIFT, SUBMITTED } from "./protocol/request-table.js";
export type { BufferLocation, CompletionSink, Loop, Registrations, Scheme, SchemeName } from "./protocol/scheme.js";
export type { Mapping } from "./protocol/segment.js";
export {
  type AcceptedRequest,
  lateOf,
  type RequestNames,
  restoreForeignCalls,
  restoreNotifier,
  restoreProtocol,
  restoreRequests,
  type SavedStart,
  StateWords,
  saveProtocol,
  snapshotWords,
  startOf,
} from "./protocol/snapshot.js";
export { NO_ROOM_FOR_LEASE, startSteps } from "./schemes/start-steps.js";
export { ChromeTrace } from "./trace/chrome-trace.js";
export { LeaseLanes } from "./trace/lease-lanes.js";

/** Makes an engine in any world: users' declarations don't show the constructor. */
export function makeEngine(host: Host, settings: EngineSettings, started: StartedScheme): PortableEngine {
  return new PortableEngine(host, settings, started);
}
