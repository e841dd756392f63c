/** Requests that transfers are made of: each waits for a slot, in the order of the calls, and resolves to its bytes. */

import { BUSY, type Owner, UNCOUNTED, type WaitPolicy, WOULD_WAIT } from "../protocol/acceptance.js";
import { type Direction, WRITE } from "../protocol/direction.js";
import { ECANCELED, EFAULT } from "../protocol/errno.js";
import { type SystemError, systemError } from "../protocol/errors.js";
import { RWF } from "../protocol/how.js";
import { locationIn } from "../protocol/segment.js";
import type { TransferHost } from "./file-host.js";
import type { IoPaths } from "./io-paths.js";
import type { MountOptions } from "./mount-options.js";
import { explainPriority } from "./request-options.js";

/** Options of one request. */
interface IssueMode {
  readonly how: number;
  /** True to go around the page cache. */
  readonly direct: boolean;
  /** Default WAITS. */
  readonly waitPolicy?: WaitPolicy;
  /** True once the request must not be issued any more. */
  readonly ended?: () => boolean;
}

export class IssuedRequests {
  readonly #host: TransferHost;
  readonly #owner: Owner;
  readonly #paths: IoPaths;
  readonly #mount: MountOptions;

  constructor(host: TransferHost, owner: Owner, paths: IoPaths, mount: MountOptions) {
    this.#host = host;
    this.#owner = owner;
    this.#paths = paths;
    this.#mount = mount;
  }

  /** Issues one request. Resolves to -1 if it would have to wait for memory and `waitPolicy` forbids it. */
  issue(direction: Direction, memory: Uint8Array, position: number, mode: IssueMode): Promise<number> {
    if (memory.byteLength === 0) return Promise.resolve(0);
    // Around the page cache there is nothing for `uncached` to do.
    const asked = mode.direct ? mode.how & ~RWF.RWF_DONTCACHE : mode.how;
    if (asked === 0) return this.#issue(direction, memory, position, 0, mode);
    return this.#mount.run(asked, this.#host, (now) => this.#issue(direction, memory, position, now, mode));
  }

  #issue(
    direction: Direction,
    memory: Uint8Array,
    position: number,
    how: number,
    { direct, waitPolicy, ended = () => false }: IssueMode,
  ): Promise<number> {
    const { protocol, submissions } = this.#host;
    const segment = this.#host.segmentOf(memory.buffer);
    const file = direct ? this.#paths.direct : this.#paths.cached;
    const owner = this.#owner;
    return new Promise((resolve, reject) => {
      const done = (errno: number, bytes: number): void =>
        errno < 0 ? reject(this.error(direction, errno, how)) : resolve(bytes);
      if (segment === null || segment.index < 0) return done(-EFAULT, 0);
      const location = locationIn(segment, memory, segment.bufferAddress + memory.byteOffset, memory.byteLength);
      submissions.enqueue(() => {
        if (ended()) {
          done(-ECANCELED, 0);
          return true;
        }
        const { dispatcher } = protocol;
        // The caller keeps the file's turn to write: a write that queued for it again would wait for itself.
        const answer = dispatcher.accept(direction, file, owner, UNCOUNTED, location, position, done, waitPolicy, how);
        if (answer === WOULD_WAIT) resolve(-1);
        return answer !== BUSY;
      });
    });
  }

  readonly error = (direction: Direction, errno: number, how = 0): SystemError => {
    const error = systemError(this.#host.describe, errno, direction === WRITE ? "write" : "read");
    if (direction === WRITE) error.bytesWritten = 0;
    if (how !== 0) explainPriority(error, how);
    return error;
  };
}
