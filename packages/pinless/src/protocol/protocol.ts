/**
 * Composition root of the protocol: notifier, leases, gate, dispatcher and foreign calls of one engine. The engine, the
 * explorer and the tests of the protocol make one each, so that none of them can wire it differently.
 */

import type { ChunkTable } from "./chunk-table.js";
import { Dispatcher } from "./dispatcher.js";
import type { MmuEvent } from "./events.js";
import { ForeignCalls, type ForeignEvents } from "./foreign-calls.js";
import { Gate } from "./gate.js";
import { type LeaseLimits, LeaseTable } from "./lease-table.js";
import { Leases } from "./leases.js";
import { type Invalidation, MmuNotifier } from "./notifier.js";
import type { Pressure } from "./pressure.js";
import type { Range } from "./ranges/ranges.js";
import { RequestTable } from "./request-table.js";
import type { BufferLocation, Loop, Scheme } from "./scheme.js";

export interface ProtocolParts extends ForeignEvents {
  readonly scheme: Scheme;
  readonly loop: Loop;
  /** Ranges of invalidations are rounded out to this: no segment has smaller chunks. */
  readonly chunkBytes: number;
  /** Null: nothing is leased (per-io), or nothing is ever given back (lifetime). */
  readonly leases: LeaseParts | null;
  /** `lifetime` only: the slot that memory was registered in for good, or -1. */
  readonly registered?: (location: BufferLocation) => number;
  /** The word that the monitor raises while it reads events (deferred-changes.ts). Absent: there is no monitor. */
  readonly reading?: Int32Array;
  /** Memory for the words of the requests, if it isn't to be their own. */
  readonly requestWords?: Int32Array;
}

export interface LeaseParts extends LeaseLimits {
  /** Memory for the words of the lease table, if it isn't to be its own. */
  readonly words?: Int32Array;
  /** Absent: nobody looks whether memory is short. */
  readonly pressure?: Pressure | null;
  /** A lease was taken, and there was none before: clocks and the watchdog start. */
  firstTaken?(nowMs: number): void;
}

export class Protocol {
  readonly notifier: MmuNotifier;
  readonly leases: Leases | null;
  readonly gate: Gate;
  readonly dispatcher: Dispatcher;
  /** The engine's side of the monitor. */
  readonly foreign: ForeignCalls;

  constructor(parts: ProtocolParts) {
    const { scheme, loop } = parts;
    const { registrations } = scheme;
    const tables: ChunkTable[] = [];
    const requests = new RequestTable(scheme.depth + (scheme.ahead ?? 0), parts.requestWords);
    this.notifier = new MmuNotifier(parts.chunkBytes, (error) => loop.uncaught(error));
    this.leases =
      parts.leases === null || registrations === null
        ? null
        : new Leases(new LeaseTable(parts.leases, parts.leases.words), registrations, tables, parts.leases);
    const { notifier, leases } = this;
    const reading = parts.reading ?? new Int32Array(1);
    this.gate = new Gate({ requests, tables, leases, notifier, reading });
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
    this.foreign = new ForeignCalls({ notifier, gate, dispatcher, loop, events: parts });
    // Each of these knows the one before it: only now do those hear of what comes after them.
    leases?.connect(gate);
    gate.connect(dispatcher);
  }

  /** Starts an invalidation; what it waits for is looked for at once. */
  invalidate(range: Range, event: MmuEvent, ready: () => void): Invalidation {
    const invalidation = this.notifier.invalidateRangeStart(range, event, { ready });
    this.dispatcher.nudge();
    return invalidation;
  }

  /** Runs a copy under the rules of a request: held, and counted so, while an invalidation excludes such requests. */
  whenOpen(range: Range, concerns: "deviceReads" | "deviceWrites", copy: () => void): void {
    if (!this.notifier.isOpen(range, concerns)) this.gate.heldTotal++;
    this.notifier.whenOpen(range, concerns, copy);
  }
}
