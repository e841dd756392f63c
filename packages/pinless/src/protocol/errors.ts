/**
 * Errors that a caller can meet. Those of the kernel carry its errno's name as `code`, as Node's do; pinless' own begin
 * with `ERR_PINLESS_` and are all listed here.
 */

/**
 * Codes of pinless' own errors, with one sentence each on their meaning. Errors of the kernel carry the errno's name as
 * `code` instead, as Node's do; errors of arguments carry Node's codes (`ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, …).
 *
 * @enum
 */
export const ERROR_CODES = {
  ERR_PINLESS_UNSUPPORTED: "this kernel, machine or Node doesn't support it; the message says what to change",
  ERR_PINLESS_OPTION: "an option is unknown, or has an invalid value",
  ERR_PINLESS_CLOSED: "the engine or the arena was closed",
  ERR_PINLESS_ARENA_FULL: "the arena has no free piece that is large enough",
  ERR_PINLESS_NOT_ALLOCATED: "the buffer isn't one that alloc() gave, or it was freed before",
  ERR_PINLESS_RANGE: "the range isn't inside this arena, or doesn't consist of whole pages as the operation needs",
  ERR_PINLESS_READ_ONLY: "the memory was made read-only by protect(), so it can't be written with zeros",
  ERR_PINLESS_NO_SWAP: "pageOut of anonymous memory needs swap, and there is none",
  ERR_PINLESS_NO_HUGE_PAGES: "collapse needs a kernel that makes huge pages when asked to",
  ERR_PINLESS_NO_NODE:
    "there is no memory on this NUMA node, or the process may not use it; the message names those that are there",
  ERR_PINLESS_TOKEN: "the token of a shared arena was used before, or this engine has that memory already",
  ERR_PINLESS_INVARIANT: "a bug in pinless: please report it",
} as const;

/** One of the codes in {@link ERROR_CODES}. */
export type PinlessErrorCode = keyof typeof ERROR_CODES;

/**
 * Error of pinless itself. Its message says what was wrong, the value received, and what to change.
 *
 * @example
 * ```ts
 * try {
 *   arena.alloc(1 << 30);
 * } catch (error) {
 *   if (error instanceof PinlessError && error.code === "ERR_PINLESS_ARENA_FULL") await arena.grow(1 << 30);
 * }
 * ```
 */
export class PinlessError extends Error {
  /** Always `"PinlessError"`. */
  override readonly name = "PinlessError";
  /** Key of {@link ERROR_CODES}. */
  readonly code: PinlessErrorCode;

  constructor(code: PinlessErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Error for something that this kernel, machine or Node lacks. */
export function unsupported(message: string): PinlessError {
  return new PinlessError("ERR_PINLESS_UNSUPPORTED", message);
}

/** Error of the kernel, in the shape of Node's: `code`, `errno`, `syscall` and `path` as node:fs gives them. */
export interface SystemError extends Error {
  /** Name of the errno, such as `"ENOSPC"`. */
  code: string;
  /** Errno, negative as Node's. */
  errno: number;
  /** Name of the call that failed, such as `"write"`. */
  syscall: string;
  /** Path of the file, if the call had one. */
  path?: string;
  /** Bytes that had reached the file before a write failed. */
  bytesWritten?: number;
}

/** Name and text of a negative errno, e.g. `["ENOSPC", "no space left on device"]`. */
export type DescribeErrno = (errno: number) => readonly [name: string, text: string];

/** Makes a `SystemError`; `errno` is negative. */
export function systemError(describe: DescribeErrno, errno: number, syscall: string, path?: string): SystemError {
  const [name, text] = describe(errno);
  const where = path === undefined ? "" : ` '${path}'`;
  const error = new Error(`${name}: ${text}, ${syscall}${where}`) as SystemError;
  error.errno = errno;
  error.code = name;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  return error;
}

/** Error for an invalid argument, with the codes that Node itself uses. */
export function argumentError(
  code: "ERR_INVALID_ARG_TYPE" | "ERR_OUT_OF_RANGE" | "ERR_INVALID_ARG_VALUE",
  message: string,
): Error {
  const error = code === "ERR_OUT_OF_RANGE" ? new RangeError(message) : new TypeError(message);
  return Object.assign(error, { code });
}
