/** Messages between the threads of a scenario with two engines on one memory, and the calls of other code there. */

import {
  announce,
  announceUnmap,
  beginReading,
  conclude,
  endReading,
  type Stopped,
  type ToAttached,
} from "pinless/portable";
import { inWords } from "./context.js";
import type { ForeignCall, Pages, Scenario } from "./scenario.js";
import type { SharedEngine } from "./shared-engine.js";
import { BURIED, GONE, type SharedFrames } from "./shared-machine.js";

/** A message to an engine's thread. */
export type SharedMessage =
  | ToAttached
  | Stopped
  | { readonly kind: "attached" }
  /** The attached engine has detached the memory, or its thread has ended. */
  | { readonly kind: "gone" }
  /** Reports of the owner's monitor. */
  | { readonly kind: "changes are over" }
  | { readonly kind: "other code has unmapped"; readonly call: number };

/** Receivers of messages. Those of each arrive in order; the monitor's come by another way than the engines'. */
export const TO_ATTACHED = 0;
export const TO_OWNER = 1;
const FROM_MONITOR = 2;

/** Pages of a range, one by one. */
export function eachOf({ first, last }: Pages): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Parts of the world that other code and the owner's monitor change. */
interface CallParts {
  readonly memory: SharedFrames;
  readonly reading: Int32Array;
  readonly owner: SharedEngine;
  readonly queues: readonly SharedMessage[][];
}

/** The steps of a call of other code that the owner's monitor couldn't make wait, and those of the monitor for it. */
export function stepsOf(
  call: ForeignCall,
  number: number,
  { memory, reading, owner, queues }: CallParts,
): readonly (() => void)[] {
  const pages = eachOf(call);
  const chunks = owner.chunksOf(call);
  const post = (message: SharedMessage): void => void queues[FROM_MONITOR]!.push(message);
  // The monitor drops the owner's leases of chunks that it announces. It knows nothing of the other engine's.
  const announced = (): void => {
    announce(chunks);
    owner.protocol.leases?.dropAll();
  };
  const over = (): void => {
    conclude(chunks);
    post({ kind: "changes are over" });
  };
  const read = (): void => {
    if (endReading(reading)) post({ kind: "changes are over" });
  };
  const unmap = (): void => {
    memory.set(pages, GONE);
    announced();
    announceUnmap(chunks);
  };
  const hear = (): void => post({ kind: "other code has unmapped", call: number });
  if (call.call === "unmap") return [unmap, () => memory.set(pages, BURIED), hear];
  if (!call.unseen) return [announced, () => memory.discard(pages), over];
  return [() => beginReading(reading), () => memory.discard(pages), announced, read, over];
}

/** Renders the next message of a queue. */
export function messageInWords(message: SharedMessage, scenario: Scenario): string {
  switch (message.kind) {
    case "stop":
      return `the owner asks to stop for ${message.event}`;
    case "resume":
      return "the owner says that it's over";
    case "unmapped":
      return "the owner says what other code has unmapped";
    case "concluded":
      return "the owner says that announced changes are over";
    case "stopped":
      return "the attached engine says that it's drained";
    case "attached":
      return "the owner says that the memory is attached";
    case "gone":
      return "the owner learns that the attached engine is gone";
    case "changes are over":
      return "the monitor says that announced changes are over";
    default:
      return `the monitor says that other code has unmapped ${inWords(scenario.foreign[message.call]!)}`;
  }
}
