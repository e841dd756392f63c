/**
 * Composition root of the protocol: notifier, leases, gate, dispatcher and foreign calls of one engine. The engine, the
 * explorer and the tests of the protocol make one each, so that none of them can wire it differently.
 */

import { AttachedEngines } from "./attached-engines.js";
import type { ChunkTable } from "./chunk-table.js";
import { Dispatcher } from "./dispatcher.js";
import type { MmuEvent } from "./events.js";
import { ForeignCalls, type ForeignEvents, type ForeignObserver } from "./foreign-calls.js";
import { Gate } from "./gate.js";
import { type LeaseLimits, LeaseTable } from "./lease-table.js";
import { Leases } from "./leases.js";
import { type Invalidation, type InvalidationObserver, MmuNotifier } from "./notifier.js";
import type { HeldObserver } from "./parked-requests.js";
import type { Pressure } from "./pressure.js";
import type { Range } from "./ranges/ranges.js";
import { RequestTable } from "./request-table.js";
import type { BufferLocation, Loop, Registrations, Scheme } from "./scheme.js";

/** Receiver of what happens, for traces. It changes nothing. */
export interface ProtocolObserver extends InvalidationObserver, HeldObserver, ForeignObserver {}

export interface ProtocolParts extends ForeignEvents {
  readonly scheme: Scheme;
  readonly loop: Loop;
  /** Granule to which ranges of invalidations are rounded out: no segment has smaller chunks. */
  readonly chunkBytes: number;
  /** Null if nothing is leased: with pin `per-io` and `lifetime`. */
  readonly leases: LeaseParts | null;
  /** For `lifetime` only: returns the buffer slot in which the memory is registered, or -1. */
  readonly registered?: (location: BufferLocation) => number;
  /** The reading word (deferred-changes.ts); undefined if there is no monitor. */
  readonly reading?: Int32Array;
  /** Memory for the words of the request table, which otherwise allocates its own. */
  readonly requestWords?: Int32Array;
  readonly observer?: ProtocolObserver | null;
}

export interface LeaseParts extends LeaseLimits {
  /** Memory for the words of the lease table, which otherwise allocates its own. */
  readonly words?: Int32Array;
  /** Null if leases are kept however short memory is. */
  readonly pressure?: Pressure | null;
  /** Called when a lease is taken while none is held, to start the clocks and the watchdog. */
  firstTaken?(nowMs: number): void;
}

export class Protocol {
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  /** The engine's side of the monitor. */
  readonly foreign: ForeignCalls;
  /** Engines of other threads that have attached memory of this one. */
  readonly attached: AttachedEngines;

  constructor(parts: ProtocolParts) {
    const { scheme, loop, observer = null } = parts;
    const { registrations } = scheme;
    const tables: ChunkTable[] = [];
    const requests = new RequestTable(scheme.depth + (scheme.ahead ?? 0), parts.requestWords);
    this.notifier = new MmuNotifier(parts.chunkBytes, (error) => loop.uncaught(error), observer);
    this.leases = parts.leases === null ? null : leasesOf(parts.leases, registrations, tables);
    const { notifier, leases } = this;
    const reading = parts.reading ?? new Int32Array(1);
    this.gate = new Gate({ requests, tables, leases, notifier, reading, observer });
    const { gate } = this;
    this.dispatcher = new Dispatcher({
      scheme,
      loop,
      requests,
      gate,
      leases,
      notifier,
      registered: parts.registered ?? null,
    });
    const { dispatcher } = this;
    this.attached = new AttachedEngines(notifier, gate.readOnly);
    const { attached } = this;
    this.foreign = new ForeignCalls({ notifier, gate, dispatcher, loop, attached, events: parts, observer });
    // Each part was constructed with the ones before it. Calls in the other direction are connected only now.
    leases?.connect(gate);
    gate.connect(dispatcher);
  }

  /** Starts an invalidation, and schedules a turn that reaps what it waits for. */
  invalidate(range: Range, event: MmuEvent, ready: () => void): Invalidation {
    const invalidation = this.notifier.invalidateRangeStart(range, event, { ready });
    this.dispatcher.nudge();
    return invalidation;
  }

  /** Runs a copy under the rules of a request: it's held, and counted as held, while an invalidation excludes it. */
  whenOpen(range: Range, concerns: "deviceReads" | "deviceWrites", copy: () => void): void {
    if (!this.notifier.isOpen(range, concerns)) this.gate.heldTotal++;
    this.notifier.whenOpen(range, concerns, copy);
  }
}

function leasesOf(
  parts: LeaseParts,
  registrations: Registrations | null,
  tables: readonly ChunkTable[],
): Leases | null {
  if (registrations === null) return null;
  const limits = registrations.comparesSegments ? parts : { ...parts, maxSegments: Number.POSITIVE_INFINITY };
  return new Leases(new LeaseTable(limits, parts.words), registrations, tables, parts);
}
