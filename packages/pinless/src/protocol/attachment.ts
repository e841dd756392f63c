/**
 * Attachment: an engine's side of memory that another thread's engine owns. What the owner tells becomes invalidations
 * of this engine, as calls of other code do (foreign-calls.ts). The owner's side is `AttachedEngine`.
 */

import { chunksIn, type Stopped, type ToAttached } from "./attached-engines.js";
import type { ChunkTable } from "./chunk-table.js";
import { conclude } from "./monitor/deferred-changes.js";
import type { Invalidation } from "./notifier.js";
import type { Protocol } from "./protocol.js";
import type { Protection } from "./public-notifier.js";
import type { Loop } from "./scheme.js";

export interface AttachmentParts {
  readonly protocol: Protocol;
  readonly loop: Loop;
  /** This engine's tables of the memory. */
  readonly tables: readonly ChunkTable[];
  readonly post: (answer: Stopped) => void;
}

export class Attachment {
  readonly #parts: AttachmentParts;
  /** Invalidations that the owner has asked for and not ended, by its number for them. */
  readonly #stops = new Map<number, Stop>();

  constructor(parts: AttachmentParts) {
    this.#parts = parts;
  }

  obey(message: ToAttached): void {
    const { protocol, tables } = this.#parts;
    const { gate, dispatcher } = protocol;
    switch (message.kind) {
      case "stop":
        this.#stop(message);
        break;
      case "resume":
        this.#resume(message.id, message.protections);
        break;
      case "unmapped":
        gate.markUnmapped(message.gone);
        for (const chunks of chunksIn(tables, message.gone)) conclude(chunks);
        dispatcher.concluded();
        break;
      case "concluded":
        dispatcher.concluded();
        break;
    }
  }

  #stop({ id, range, event }: ToAttached & { kind: "stop" }): void {
    const stop: Stop = { id, invalidation: null, protections: null };
    this.#stops.set(id, stop);
    stop.invalidation = this.#parts.protocol.invalidate(range, event, () => this.#begun(stop));
  }

  #begun(stop: Stop): void {
    if (stop.protections === null) this.#parts.post({ kind: "stopped", id: stop.id });
    // Its end came before its begin: it ends in a microtask, because it's beginning only now.
    else this.#parts.loop.microtask(() => this.#end(stop));
  }

  #resume(id: number, protections: readonly Protection[]): void {
    const stop = this.#stops.get(id)!;
    this.#stops.delete(id);
    stop.protections = protections;
    if (stop.invalidation!.state === "begun") this.#end(stop);
  }

  #end({ invalidation, protections }: Stop): void {
    const { notifier, dispatcher } = this.#parts.protocol;
    notifier.invalidateRangeEnd(invalidation!, protections!);
    dispatcher.nudge();
  }

  /** Ends what the owner won't end any more, because it's gone. */
  ownerIsGone(): void {
    for (const id of [...this.#stops.keys()]) this.#resume(id, []);
  }
}

interface Stop {
  readonly id: number;
  /** Null until `invalidateRangeStart` has returned. */
  invalidation: Invalidation | null;
  /** The protections that its end sets; null until the owner has ended it. */
  protections: readonly Protection[] | null;
}
