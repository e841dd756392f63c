/**
 * Copies between staging memory and a file mapping. A device must not write into such a mapping directly, because a
 * write has to notify the filesystem first (page_mkwrite) and to wait while the page is under writeback. And if the
 * file was truncated, a store by JavaScript would kill the process (SIGBUS). So the kernel does the copy, by a read of
 * /proc/self/mem: it takes the same page fault as a store, and fails with EFAULT instead of SIGBUS. To the protocol
 * it's an ordinary device write, which invalidations wait for.
 */

import { BUSY, type Owner, UNCOUNTED, type WaitPolicy, WOULD_WAIT } from "../protocol/acceptance.js";
import type { Direction } from "../protocol/direction.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import { EFAULT } from "../protocol/errno.js";
import type { BufferLocation } from "../protocol/scheme.js";
import type { Copier } from "../protocol/segment.js";

export class ProcSelfMem implements Copier {
  readonly #dispatcher: Dispatcher;
  readonly #enqueue: (attempt: () => boolean) => void;
  readonly #fd: number;
  /** Placeholder owner: closing a file doesn't abort these copies, so that bytes read from a pipe are delivered. */
  readonly #owner: Owner = { active: 0, directWrites: 0, becameIdle: null };

  /** `fd` is an open /proc/self/mem. */
  constructor(dispatcher: Dispatcher, enqueue: (attempt: () => boolean) => void, fd: number) {
    this.#dispatcher = dispatcher;
    this.#enqueue = enqueue;
    this.#fd = fd;
  }

  copy(
    direction: Direction,
    location: BufferLocation,
    staging: number,
    waitPolicy: WaitPolicy,
  ): Promise<number | "would wait"> {
    return new Promise((resolve) => {
      // A short copy counts as a fault too, although no kernel up to 6.18 makes one.
      const done = (errno: number, bytes: number): void => {
        resolve(errno === 0 && bytes < location.bytes ? -EFAULT : errno);
      };
      this.#enqueue(() => {
        const answer = this.#dispatcher.accept(
          direction,
          this.#fd,
          this.#owner,
          UNCOUNTED,
          location,
          staging,
          done,
          waitPolicy,
        );
        if (answer === WOULD_WAIT) resolve("would wait");
        return answer !== BUSY;
      });
    });
  }
}
