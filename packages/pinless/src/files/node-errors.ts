/** Errors with the codes and messages of Node's own. */

import { Buffer, inspect } from "./node-runtime.js";

export function codedError<E extends Error>(error: E, code: string): E {
  return Object.assign(error, { code });
}

/** Node's error of a call on a FileHandle that was closed. */
export function fileClosed(syscall: string): Error {
  return Object.assign(new Error("file closed"), { code: "EBADF", syscall });
}

export function invalidState(what: string): Error {
  return codedError(new Error(`Invalid state: ${what}`), "ERR_INVALID_STATE");
}

export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const kind = name.includes(".") ? "property" : "argument";
  return codedError(
    new TypeError(`The "${name}" ${kind} must be ${expected}. Received ${received(value)}`),
    "ERR_INVALID_ARG_TYPE",
  );
}

export function invalidValue(name: string, value: unknown, why: string): TypeError {
  const kind = name.includes(".") ? "property" : "argument";
  const shown = inspect(value).slice(0, 128);
  return codedError(new TypeError(`The ${kind} '${name}' ${why}. Received ${shown}`), "ERR_INVALID_ARG_VALUE");
}

function received(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === "function") return `function ${value.name}`;
  if (typeof value !== "object") return `type ${typeof value} (${inspect(value).slice(0, 28)})`;
  const name = (value as { constructor?: { name?: string } }).constructor?.name;
  return name ? `an instance of ${name}` : inspect(value, { depth: -1 });
}

/** Node's AbortError, which Node doesn't export: `signal.throwIfAborted()` throws the reason without it. */
class AbortError extends Error {
  readonly code = "ABORT_ERR";
  override readonly name = "AbortError";

  constructor(cause: unknown) {
    super("The operation was aborted", { cause });
  }
}

export function throwIfAborted(signal: AbortSignal | null | undefined): void {
  if (signal?.aborted) throw new AbortError(signal.reason);
}

/** Normalizes the options of readFile and writeFile: an object, or an encoding that Buffer knows. */
export function optionsOf<T extends { encoding?: unknown; signal?: unknown }>(options: unknown): Partial<T> {
  if (options === null || options === undefined || typeof options === "function") return {};
  if (typeof options !== "string" && typeof options !== "object")
    throw invalidType("options", "one of type string or object", options);
  const given = (typeof options === "string" ? { encoding: options } : options) as Partial<T>;
  const { encoding, signal } = given;
  if (encoding && encoding !== "buffer" && !Buffer.isEncoding(encoding as string))
    throw invalidValue("encoding", encoding, "is invalid encoding");
  if (signal !== undefined && (signal === null || typeof signal !== "object" || !("aborted" in signal)))
    throw invalidType("options.signal", "an instance of AbortSignal", signal);
  return given;
}

/**
 * Passes a promise on, with the awaiting caller in an I/O error's stack, as Node's have it. The error was created where
 * the completion was reaped, where V8 doesn't know the caller; after an await it does.
 */
export async function naming<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof Error && "syscall" in error) Error.captureStackTrace(error, naming);
    throw error;
  }
}
