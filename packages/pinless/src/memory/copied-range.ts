/** Copies a part of a file into another: copy_file_range(2), or FICLONERANGE. */

import type { MemoryRequest, MemoryResult } from "../ports/memory.js";
import type { MemoryKernel, Steps } from "./memory-kernel.js";
import { inOne } from "./operation-pieces.js";

/** Bytes of one call, during which the thread can't be interrupted. */
const PIECE_BYTES = 16 << 20;
/** Time after which the request ends early, so that its caller can look whether to go on. */
const MOMENT_MS = 100;

export function* copyRange({ file, target, clone, bytes }: MemoryRequest, kernel: MemoryKernel): Steps<MemoryResult> {
  const until = kernel.nowMs() + MOMENT_MS;
  let done = 0;
  let copied = 0;
  do {
    const [from, to] = [file!, target!].map(({ fd, position }) => ({ fd, position: position + done }));
    copied = yield* kernel.copyRange(from!, to!, Math.min(bytes - done, PIECE_BYTES), clone === true);
    done += Math.max(0, copied);
  } while (copied > 0 && done < bytes && kernel.nowMs() < until);
  // After an error, the bytes that were copied before it are the result: the next request meets the error again.
  return { ...inOne({ start: 0, end: bytes }, done > 0 ? 0 : copied), bytes: done };
}
