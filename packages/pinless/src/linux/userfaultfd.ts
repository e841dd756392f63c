/**
 * A userfaultfd, used for its events only: the kernel tells when memory is discarded, unmapped or moved, and makes whoever does it wait
 * until the event has been read. Ranges are registered for write protection, and nothing is ever protected: no access faults.
 */

import { UFFD_MSG, UFFDIO_API, UFFDIO_RANGE, UFFDIO_REGISTER } from "../abi/layouts.js";
import { ERRNO, FCNTL, UFFD } from "../abi/numbers.js";
import type { MemoryEvent } from "../protocol/monitor/caller-tracking.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { addressOf, close, closeAtTeardown, ioctl, raiseAtTeardown, read, userfaultfd } from "./libc.js";

const FEATURES =
  UFFD.UFFD_FEATURE_PAGEFAULT_FLAG_WP |
  UFFD.UFFD_FEATURE_EVENT_REMOVE |
  UFFD.UFFD_FEATURE_EVENT_UNMAP |
  UFFD.UFFD_FEATURE_EVENT_REMAP;

export class Userfaultfd {
  readonly fd: number;
  readonly #memory = new ArrayBuffer(128);
  readonly #bytes = new Uint8Array(this.#memory);
  readonly #quads = new BigUint64Array(this.#memory);
  readonly #address = addressOf(this.#memory);
  #forgetTeardown: () => void = () => {};

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * A userfaultfd, or -errno. It's closed with this thread's environment, however that ends: everybody who waits is let go then. Before
   * that the first word of `raised` is made greater by one.
   * It sees no faults of the kernel's own (UFFD_USER_MODE_ONLY), which is what ordinary users may have. Mappings of files can be registered
   * only with asynchronous write protection, which came with Linux 6.7.
   */
  static open(raised: SharedArrayBuffer): Userfaultfd | number {
    const first = Userfaultfd.#open(FEATURES | UFFD.UFFD_FEATURE_WP_ASYNC);
    const opened = first === -ERRNO.EINVAL ? Userfaultfd.#open(FEATURES) : first;
    if (typeof opened === "number") return opened;
    const forgetClose = closeAtTeardown(opened.fd);
    // After that one, to come before it.
    const forgetRaise = raiseAtTeardown(raised);
    opened.#forgetTeardown = () => {
      forgetRaise();
      forgetClose();
    };
    return opened;
  }

  /** Whoever waits goes on, and nothing is raised. */
  close(): void {
    this.#forgetTeardown();
    close(this.fd);
  }

  /** Features that the kernel doesn't know are EINVAL, and the descriptor is good for nothing more. */
  static #open(features: number): Userfaultfd | number {
    const fd = userfaultfd(UFFD.UFFD_USER_MODE_ONLY | FCNTL.O_CLOEXEC | FCNTL.O_NONBLOCK);
    if (fd < 0) return fd;
    const made = new Userfaultfd(fd);
    made.#quads[UFFDIO_API.fields.api / 8] = BigInt(UFFD.UFFD_API);
    made.#quads[UFFDIO_API.fields.features / 8] = BigInt(features);
    const answer = ioctl(fd, UFFD.UFFDIO_API, made.#address);
    if (answer < 0) {
      close(fd);
      return answer;
    }
    return made;
  }

  /** 0, or -errno: EBUSY where another userfaultfd has it, EINVAL where it's a file's and can't be registered. */
  register(range: Range): number {
    this.#range(range);
    this.#quads[UFFDIO_REGISTER.fields.mode / 8] = BigInt(UFFD.UFFDIO_REGISTER_MODE_WP);
    return ioctl(this.fd, UFFD.UFFDIO_REGISTER, this.#address);
  }

  unregister(range: Range): number {
    this.#range(range);
    return ioctl(this.fd, UFFD.UFFDIO_UNREGISTER, this.#address);
  }

  #range({ start, end }: Range): void {
    this.#quads[UFFDIO_RANGE.fields.start / 8] = BigInt(start);
    this.#quads[UFFDIO_RANGE.fields.len / 8] = BigInt(end - start);
  }

  /** The oldest event, whose caller goes on by that; null if there is none. */
  next(): MemoryEvent | null {
    for (;;) {
      const got = read(this.fd, this.#address, UFFD_MSG.size);
      if (got === -ERRNO.EINTR) continue;
      if (got !== UFFD_MSG.size) return null;
      const field = (at: number): number => Number(this.#quads[at / 8]);
      const { fields } = UFFD_MSG;
      switch (this.#bytes[fields.event]) {
        case UFFD.UFFD_EVENT_REMOVE:
          return { kind: "remove", start: field(fields["arg.remove.start"]), end: field(fields["arg.remove.end"]) };
        case UFFD.UFFD_EVENT_UNMAP:
          return { kind: "unmap", start: field(fields["arg.remove.start"]), end: field(fields["arg.remove.end"]) };
        case UFFD.UFFD_EVENT_REMAP: {
          const start = field(fields["arg.remap.from"]);
          return { kind: "unmap", start, end: start + field(fields["arg.remap.len"]) };
        }
      }
    }
  }
}

/** One sentence: why foreign calls on memory can't be followed, and what to change. */
export function explainNoUserfaultfd(errno: number): string {
  const what = "What other code does to an arena's memory (madvise, munmap) isn't followed";
  switch (-errno) {
    case ERRNO.ENOSYS:
      return `${what}: userfaultfd isn't in this kernel, or a seccomp filter hides it.`;
    case ERRNO.EPERM:
      return `${what}: userfaultfd is forbidden here, by a seccomp filter or a security module (containers: allow userfaultfd).`;
    case ERRNO.EINVAL:
      return `${what}: this kernel's userfaultfd has no write protection or no events of an ordinary user (x86-64: 5.11 or later, arm64: 6.10 or later), or none of a file's mapping (6.7 or later).`;
    case ERRNO.EBUSY:
      return `${what} on a part of it that another userfaultfd holds.`;
    default:
      return `${what}: userfaultfd answers errno ${-errno}.`;
  }
}
