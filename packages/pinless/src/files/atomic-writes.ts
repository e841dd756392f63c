/** Atomic writes (RWF_ATOMIC): which a file has, and the errors of others. Nothing is ever done in place of one. */

import type { OpenedFile } from "../ports/opened-file.js";
import { PinlessError } from "../protocol/errors.js";
import { isPowerOfTwo } from "../protocol/ranges/ranges.js";

/** The reason why a file has no atomic writes; undefined if it has. */
export function whyNotAtomic({ atomic, append, direct }: OpenedFile): string | undefined {
  if (append) return "atomic writes need a position, and a file opened for appending takes none";
  if (!direct) return "atomic writes are direct, and this file has no direct I/O";
  if (atomic === null) return "the kernel, the filesystem or the device has no atomic writes of this file";
  return undefined;
}

/** Throws unless an atomic write of so many bytes at a position is one of the file's units. */
export function assertUnit({ atomic }: OpenedFile, bytes: number, position: number): void {
  const { unitMinBytes = 0, unitMaxBytes = 0 } = atomic ?? {};
  if (isPowerOfTwo(bytes) && bytes >= unitMinBytes && bytes <= unitMaxBytes && position % bytes === 0) return;
  throw new PinlessError(
    "ERR_PINLESS_OPTION",
    `option atomic takes a power of two from ${unitMinBytes} to ${unitMaxBytes} bytes (file.features.atomic), ` +
      `at a multiple of its length. Received ${bytes} bytes at ${position}`,
  );
}

/** Error of an atomic write that can't be made as one. */
export function notAtomic(): PinlessError {
  return new PinlessError(
    "ERR_PINLESS_OPTION",
    "option atomic takes a position, and memory of an arena of the file's engine, aligned to " +
      "file.alignment.memory: other memory is copied first, in pieces",
  );
}
