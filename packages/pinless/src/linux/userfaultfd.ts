/**
 * A userfaultfd used for its events only: the kernel reports when memory is discarded, unmapped or moved, and makes a
 * discarding caller wait until the event was read. Ranges are registered for write protection, but nothing is ever
 * protected, so no access faults.
 */

import { UFFD_MSG, UFFDIO_API, UFFDIO_RANGE, UFFDIO_REGISTER } from "../abi/layouts.js";
import { FCNTL, UFFD } from "../abi/numbers.js";
import { EBUSY, EINTR, EINVAL, ENOSYS, EPERM } from "../protocol/errno.js";
import type { MemoryEvent } from "../protocol/monitor/caller-tracking.js";
import type { Range } from "../protocol/ranges/ranges.js";
import { close, ioctl, read, userfaultfd } from "./libc.js";
import { addressOf } from "./libc-bindings.js";
import { closeAtTeardown, raiseAtTeardown } from "./teardown.js";

const FEATURES =
  UFFD.UFFD_FEATURE_PAGEFAULT_FLAG_WP |
  UFFD.UFFD_FEATURE_EVENT_REMOVE |
  UFFD.UFFD_FEATURE_EVENT_UNMAP |
  UFFD.UFFD_FEATURE_EVENT_REMAP;

/** Events read at once; if there are more, they follow. */
const MOST_EVENTS = 16;

export class Userfaultfd {
  readonly fd: number;
  readonly #memory = new ArrayBuffer(128);
  readonly #quads = new BigUint64Array(this.#memory);
  readonly #address = addressOf(this.#memory);
  readonly #events = new ArrayBuffer(MOST_EVENTS * UFFD_MSG.size);
  readonly #eventBytes = new Uint8Array(this.#events);
  readonly #eventQuads = new BigUint64Array(this.#events);
  readonly #eventAddress = addressOf(this.#events);
  /** Number of events of the last read, and how many of them were taken. */
  #came = 0;
  #taken = 0;
  #forgetTeardown: () => void = () => {};

  private constructor(fd: number) {
    this.fd = fd;
  }

  /**
   * Opens one; returns -errno on failure. It's closed whenever this thread's environment ends, which lets waiting
   * callers go; before that the first word of `raised` is incremented. UFFD_USER_MODE_ONLY excludes faults in
   * the kernel, which makes it available to ordinary users. File mappings can be registered from Linux 6.7 on
   * (asynchronous write protection).
   */
  static open(raised: SharedArrayBuffer): Userfaultfd | number {
    const first = Userfaultfd.#open(FEATURES | UFFD.UFFD_FEATURE_WP_ASYNC);
    const opened = first === -EINVAL ? Userfaultfd.#open(FEATURES) : first;
    if (typeof opened === "number") return opened;
    const forgetClose = closeAtTeardown(opened.fd);
    // Hooks run last in, first out: registered later, this one runs earlier.
    const forgetRaise = raiseAtTeardown(raised);
    opened.#forgetTeardown = () => {
      forgetRaise();
      forgetClose();
    };
    return opened;
  }

  /** Closes it, which lets waiting callers go, and cancels the increment. */
  close(): void {
    this.#forgetTeardown();
    close(this.fd);
  }

  /** Opens one with these features. An unknown feature fails with EINVAL, and the descriptor is unusable then. */
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

  /**
   * Registers a range; returns 0 or -errno: EBUSY if another userfaultfd has it, EINVAL for a file mapping that can't
   * be registered.
   */
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

  /**
   * Takes the oldest event, whose caller then goes on; null after those that were there at the first call since the
   * last null. They're read in one system call, so a caller can't come again in between.
   */
  next(): MemoryEvent | null {
    for (;;) {
      if (this.#taken === this.#came && !this.#read()) return null;
      const at = this.#taken++ * UFFD_MSG.size;
      const field = (offset: number): number => Number(this.#eventQuads[(at + offset) / 8]);
      const { fields } = UFFD_MSG;
      switch (this.#eventBytes[at + fields.event]) {
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

  /** Reads the events that are there; false if all of them were read before. */
  #read(): boolean {
    const isFull = this.#came === MOST_EVENTS;
    const hasMore = this.#came === 0 || isFull;
    this.#taken = this.#came = 0;
    if (!hasMore) return false;
    let got: number;
    do got = read(this.fd, this.#eventAddress, MOST_EVENTS * UFFD_MSG.size);
    while (got === -EINTR);
    this.#came = Math.max(0, Math.floor(got / UFFD_MSG.size));
    return this.#came > 0;
  }
}

/** Sentence that says why foreign memory calls can't be followed, and what to change. */
export function explainNoUserfaultfd(errno: number): string {
  const what = "Memory calls of other code (madvise, munmap) aren't followed";
  switch (-errno) {
    case ENOSYS:
      return `${what}: this kernel has no userfaultfd, or a seccomp filter hides it.`;
    case EPERM:
      return (
        `${what}: userfaultfd is forbidden here, by a seccomp filter or a security module ` +
        "(containers: allow userfaultfd)."
      );
    case EINVAL:
      return (
        `${what}: it needs a kernel of 5.11 or later on x86-64, 6.10 or later on arm64, ` +
        "and 6.7 or later for arenas of files."
      );
    case EBUSY:
      return `${what} on memory that another userfaultfd has registered.`;
    default:
      return `${what}: userfaultfd fails with errno ${-errno}.`;
  }
}
