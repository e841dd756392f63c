/**
 * A scheme that writes its requests and leases into a trace, and passes everything on to the real one. A request's
 * slice is its time in the kernel's hands; one that is issued again has two.
 */

import { type Direction, READ } from "../protocol/direction.js";
import type { BufferLocation, CompletionSink, Registrations, Scheme } from "../protocol/scheme.js";
import type { ChromeTrace } from "./chrome-trace.js";
import { LeaseLanes } from "./lease-lanes.js";

export function tracedScheme(scheme: Scheme, trace: ChromeTrace, leaseName: string): Scheme {
  const leases = new LeaseLanes(trace, leaseName);
  const { registrations } = scheme;
  const begin = (slot: number, direction: Direction, location: BufferLocation, position: number, lease: number) => {
    const { address, bytes } = location;
    // The kernel refused it without having begun it.
    trace.end("requests", slot, { refused: "it is issued again" });
    const details = { slot, position, bytes, lease: lease < 0 ? "none" : lease };
    const range = { start: address, end: address + bytes };
    trace.begin("requests", slot, direction === READ ? "read" : "write", details, { range });
  };
  const parts: Partial<Scheme> = {
    registrations: registrations === null ? null : tracedRegistrations(registrations, leases),
    prepare(slot, direction, file, location, position, bufferSlot, how) {
      begin(slot, direction, location, position, bufferSlot);
      scheme.prepare(slot, direction, file, location, position, bufferSlot, how);
    },
    reap: (sink, limit) => scheme.reap(tracedSink(sink, trace, leases), limit),
  };
  if (scheme.prepareFallback !== undefined)
    parts.prepareFallback = (slot, direction, file, location, position, how) => {
      begin(slot, direction, location, position, -1);
      scheme.prepareFallback!(slot, direction, file, location, position, how);
    };
  return replacing(scheme, parts);
}

function tracedRegistrations(registrations: Registrations, leases: LeaseLanes): Registrations {
  return replacing(registrations, {
    take(slot, address, bytes) {
      const errno = registrations.take(slot, address, bytes);
      if (errno === 0) leases.taken(slot, address, bytes);
      return errno;
    },
    drop(slot) {
      leases.dropped(slot);
      return registrations.drop(slot);
    },
  });
}

function tracedSink(sink: CompletionSink, trace: ChromeTrace, leases: LeaseLanes): CompletionSink {
  return {
    completed(slot, result) {
      trace.end("requests", slot, { result });
      sink.completed(slot, result);
    },
    refused: (slot) => sink.refused(slot),
    released(bufferSlot) {
      leases.ended(bufferSlot);
      sink.released(bufferSlot);
    },
  };
}

/** Object that has some members of its own, and all others of `target`. */
function replacing<T extends object>(target: T, parts: Partial<T>): T {
  return new Proxy(target, {
    get(_target, key) {
      if (Object.hasOwn(parts, key)) return Reflect.get(parts, key);
      const value: unknown = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
