/** Messages between the owner of a shared arena and an engine that has attached it. */

import type { OperationReport } from "../ports/stats.js";
import type { Stopped, ToAttached } from "../protocol/attached-engines.js";
import { PinlessError, type PinlessErrorCode } from "../protocol/errors.js";
import type { Range } from "../protocol/ranges/ranges.js";

/** One mapping of a shared arena. Addresses are the same in all threads of a process. */
export interface SharedSegment {
  readonly buffer: SharedArrayBuffer;
  readonly bufferAddress: number;
  readonly range: Range;
  readonly chunkBytes: number;
  /** Words of the owner's chunk table. */
  readonly words: Int32Array;
}

/** The first message of a channel: the memory. */
export interface SharedMemory {
  readonly kind: "memory";
  readonly segments: readonly SharedSegment[];
  /** The owner's reading word; null if memory calls of other code aren't followed. */
  readonly reading: Int32Array | null;
  /** 1 once the arena is closed. */
  readonly closed: Int32Array;
}

/** A part of a shared arena: bytes of one of its segments. */
export interface SharedPart {
  readonly segment: number;
  readonly offset: number;
  readonly bytes: number;
}

/** An operation that the owner does for an attached engine; without a part on the whole arena. */
export type SharedOperation =
  | { readonly operation: "discard"; readonly options: { lazily?: boolean } }
  | { readonly operation: "collapse" | "pageOut" | "exclusive" }
  | { readonly operation: "migrate"; readonly options: { node: number } }
  | { readonly operation: "protect"; readonly access: "read" | "readwrite" };

export type FromOwner =
  | ToAttached
  | { readonly kind: "attached" }
  /** The arena is closed: its memory is zeroed, and the attached engine's I/O on it fails. */
  | { readonly kind: "closed" }
  /** The range of an `exclusive` is the caller's until it sends `done`. */
  | { readonly kind: "yours"; readonly id: number }
  | { readonly kind: "answer"; readonly id: number; readonly report: OperationReport }
  | { readonly kind: "failure"; readonly id: number; readonly error: SentError };

export type FromAttached =
  /** Asks to be attached; `words` are those of its chunk tables. */
  | { readonly kind: "attach"; readonly words: readonly Int32Array[] }
  | Stopped
  | { readonly kind: "call"; readonly id: number; readonly what: SharedOperation; readonly part: SharedPart | null }
  | { readonly kind: "done"; readonly id: number };

/** An error in a message: a copy by the structured clone algorithm would lose its code. */
export interface SentError {
  readonly message: string;
  readonly code: string | undefined;
  readonly fields: Record<string, unknown>;
}

export function sent(error: unknown): SentError {
  if (!(error instanceof Error)) return { message: String(error), code: undefined, fields: {} };
  const { code, errno, syscall } = error as Error & { code?: string; errno?: number; syscall?: string };
  return { message: error.message, code, fields: errno === undefined ? {} : { errno, syscall } };
}

export function received({ message, code, fields }: SentError): Error {
  if (code?.startsWith("ERR_PINLESS_")) return new PinlessError(code as PinlessErrorCode, message);
  const kind = code === "ERR_OUT_OF_RANGE" ? RangeError : code?.startsWith("ERR_INVALID_ARG") ? TypeError : Error;
  return Object.assign(new kind(message), code === undefined ? {} : { code }, fields);
}
