/**
 * Copies between staging memory and memory that is a mapping of a file. No device may write into such a mapping: the filesystem must hear of
 * every write first (page_mkwrite), and has it wait while the page is being written back. And a page of it can go while it's used: where
 * the file has been cut short, a store by JavaScript ends the process (SIGBUS). So the kernel copies, by a read of /proc/self/mem, which
 * takes the same page fault as a store does, and answers EFAULT. To the protocol it's a request like any other: a device write, that
 * invalidations wait for.
 */

import { BUSY, NEVER_WAITS, type Owner, SHUT, WAITS } from "../protocol/acceptance.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import { EFAULT } from "../protocol/errno.js";
import type { RequestPlace } from "../protocol/scheme.js";
import type { Copier } from "../protocol/segment.js";

export class SelfMemory implements Copier {
  readonly #dispatcher: Dispatcher;
  readonly #enqueue: (attempt: () => boolean) => void;
  readonly #fd: number;
  /** Nobody's that could be closed meanwhile: what a pipe gave is delivered. */
  readonly #owner: Owner = { active: 0, directWrites: 0, quiet: null };

  /** `fd`: /proc/self/mem. */
  constructor(dispatcher: Dispatcher, enqueue: (attempt: () => boolean) => void, fd: number) {
    this.#dispatcher = dispatcher;
    this.#enqueue = enqueue;
    this.#fd = fd;
  }

  copy(toMemory: boolean, place: RequestPlace, staging: number, patient: boolean): Promise<number | "shut"> {
    const patience = patient ? WAITS : NEVER_WAITS;
    return new Promise((resolve) => {
      // Less than all of it is an error too, though this kernel (6.18) has no such answer.
      const done = (errno: number, bytes: number): void => {
        resolve(errno === 0 && bytes < place.bytes ? -EFAULT : errno);
      };
      this.#enqueue(() => {
        const answer = this.#dispatcher.accept(!toMemory, this.#fd, this.#owner, false, place, staging, done, patience);
        if (answer === SHUT) resolve("shut");
        return answer !== BUSY;
      });
    });
  }
}
