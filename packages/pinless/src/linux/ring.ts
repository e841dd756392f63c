/** An io_uring: reads and writes its two queues in shared memory. It doesn't interpret requests. */

import { CQ_OFFSETS, CQE, GETEVENTS_ARG, PARAMS, SQ_OFFSETS, SQE, TIMESPEC } from "../abi/layouts.js";
import { IO_URING, MMAN } from "../abi/numbers.js";
import { invariant } from "../protocol/assert.js";
import { EINTR, EINVAL, EIO, ENOSYS } from "../protocol/errno.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignUp } from "../protocol/ranges/ranges.js";
import { fixedMemory } from "./fixed-memory.js";
import { close, ioUringEnter, ioUringEnterAndWait, ioUringSetup, mmap, munmap } from "./libc.js";
import { addressOf, viewOf } from "./libc-bindings.js";
import { closeAtTeardown } from "./teardown.js";

const SQE_WORDS = SQE.size / 4;
const CQE_WORDS = CQE.size / 4;
/** Limit of the kernel for submission queues; completion queues may have twice as many entries. */
const MAX_ENTRIES = 32768;
/**
 * Longest wait for completions. A shorter one isn't free in a virtual machine, where a timer ahead of the scheduler's
 * next tick has to be set with the hypervisor, and to be taken back when the wait ends before. A wait for one read took
 * 23 µs more CPU with a limit of 0.1 ms, 12 with 1 ms, and none with 3 ms (6.18 with HZ=250, ext4 on a loop device).
 */
const WAIT_LIMIT_MS = 4;
const TIMESPEC_AT = 64;
/** Upper bound of struct io_rings before the completions, and of the gap before the index array. */
const QUEUE_HEADER_BYTES = 1024;

export interface RingOptions {
  /** Minimum number of submission queue entries. */
  readonly entries: number;
  /** Minimum number of completion queue entries; by default twice `entries`. */
  readonly completions?: number;
  readonly flags?: number;
}

export class Ring {
  readonly fd: number;
  readonly sqEntries: number;
  /** True if the queues are in memory of this process; then closing the descriptor destroys the ring. */
  readonly inOwnMemory: boolean;
  /** Memory of both queues as 32-bit words. */
  readonly cqes: Int32Array;
  /** The submission queue entries as 32-bit words; `next()` returns the first word of one. */
  readonly sqes: Int32Array;
  readonly #sqTail: number;
  readonly #sqFlags: number;
  readonly #sqMask: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqMask: number;
  readonly #firstCqe: number;
  #tail = 0;
  #submitted = 0;
  #head = 0;
  #open = true;
  readonly #forgetTeardown: () => void;
  readonly #unmap: (() => void) | null;
  /** True if a wait can have a limit (Linux 5.11). */
  readonly canWait: boolean;
  /** Limit of a wait: struct io_uring_getevents_arg, and the struct timespec that it points to. */
  readonly #limit = new ArrayBuffer(128);
  readonly #limitAddress = addressOf(this.#limit);

  private constructor(
    fd: number,
    params: Uint32Array,
    queues: Int32Array,
    sqes: Int32Array,
    unmap: (() => void) | null,
  ) {
    this.fd = fd;
    this.inOwnMemory = unmap === null;
    this.canWait = (params[PARAMS.fields.features / 4]! & IO_URING.IORING_FEAT_EXT_ARG) !== 0;
    const limit = new BigInt64Array(this.#limit);
    limit[GETEVENTS_ARG.fields.ts / 8] = BigInt(this.#limitAddress + TIMESPEC_AT);
    limit[(TIMESPEC_AT + TIMESPEC.fields.tv_nsec) / 8] = BigInt(WAIT_LIMIT_MS * 1e6);
    const sq = (field: keyof typeof SQ_OFFSETS.fields): number =>
      params[(PARAMS.fields.sq_off + SQ_OFFSETS.fields[field]) / 4]! / 4;
    const cq = (field: keyof typeof CQ_OFFSETS.fields): number =>
      params[(PARAMS.fields.cq_off + CQ_OFFSETS.fields[field]) / 4]! / 4;
    this.sqEntries = params[0]!;
    this.#sqMask = this.sqEntries - 1;
    this.#cqMask = params[PARAMS.fields.cq_entries / 4]! - 1;
    this.cqes = queues;
    this.sqes = sqes;
    this.#unmap = unmap;
    this.#sqTail = sq("tail");
    this.#sqFlags = sq("flags");
    this.#cqHead = cq("head");
    this.#cqTail = cq("tail");
    this.#firstCqe = cq("cqes");
    // The kernel takes entries through an array of indexes, which here is the identity.
    for (let i = 0; i < this.sqEntries; i++) this.cqes[sq("array") + i] = i;
    this.#forgetTeardown = closeAtTeardown(fd);
  }

  /**
   * Opens a ring and tests it. Returns -errno on failure: ENOSYS (no io_uring), EPERM (forbidden), ENOMEM (memlock, on
   * old kernels), EINVAL (flags unknown to this kernel).
   */
  static open(options: RingOptions): Ring | number {
    const own = Ring.#openInOwnMemory(options);
    const ring = own === -EINVAL ? Ring.#openMapped(options) : own;
    if (typeof ring === "number") return ring;
    const tried = ring.#try();
    if (tried === 0) return ring;
    ring.close();
    return tried;
  }

  /**
   * Tests the ring by a NOP; returns 0 or -errno. A seccomp filter may allow io_uring_setup and forbid io_uring_enter.
   */
  #try(): number {
    this.sqes[this.next()] = IO_URING.IORING_OP_NOP;
    let taken = this.enter(IO_URING.IORING_ENTER_GETEVENTS);
    while (taken === -EINTR) taken = this.enter(IO_URING.IORING_ENTER_GETEVENTS);
    if (taken < 0) return taken;
    if (this.completions !== 1) return -EIO;
    this.consume(1);
    return 0;
  }

  /**
   * Opens a ring with queues in memory of ours (IORING_SETUP_NO_MMAP). A mapping of the kernel's memory would keep the
   * ring alive after its descriptor is closed: a terminated worker, which runs no JavaScript, left such mappings, and
   * with them all registered pages. EINVAL before Linux 6.5, and before 6.10 if the queues don't fit in one page.
   */
  static #openInOwnMemory(options: RingOptions): Ring | number {
    const sqEntries = Math.min(powerOfTwo(options.entries), MAX_ENTRIES);
    const cqEntries = Math.min(powerOfTwo(options.completions ?? 2 * sqEntries), 2 * MAX_ENTRIES);
    const sqesBytes = alignUp(sqEntries * SQE.size, PAGE_BYTES);
    const queuesBytes = alignUp(QUEUE_HEADER_BYTES + cqEntries * CQE.size + sqEntries * 4, PAGE_BYTES);
    const memory = fixedMemory(sqesBytes + queuesBytes);
    const params = paramsOf(options, IO_URING.IORING_SETUP_NO_MMAP);
    const sqes = BigInt(addressOf(memory));
    const pointers = new BigUint64Array(params.buffer);
    pointers[(PARAMS.fields.sq_off + SQ_OFFSETS.fields.user_addr) / 8] = sqes;
    pointers[(PARAMS.fields.cq_off + CQ_OFFSETS.fields.user_addr) / 8] = sqes + BigInt(sqesBytes);
    const fd = ioUringSetup(options.entries, params.buffer as ArrayBuffer);
    if (fd < 0) return fd;
    const { queues: end } = extentOf(params);
    invariant("STATE", params[0] === sqEntries && end <= queuesBytes, `the queues took ${end} of ${queuesBytes} bytes`);
    const queues = new Int32Array(memory, sqesBytes, queuesBytes / 4);
    return new Ring(fd, params, queues, new Int32Array(memory, 0, sqEntries * SQE_WORDS), null);
  }

  static #openMapped(options: RingOptions): Ring | number {
    const params = paramsOf(options, 0);
    const fd = ioUringSetup(options.entries, params.buffer as ArrayBuffer);
    if (fd < 0) return fd;
    if ((params[PARAMS.fields.features / 4]! & IO_URING.IORING_FEAT_SINGLE_MMAP) === 0) return closed(fd, -ENOSYS);
    const bytes = extentOf(params);
    const protection = MMAN.PROT_READ | MMAN.PROT_WRITE;
    const flags = MMAN.MAP_SHARED | MMAN.MAP_POPULATE;
    const queues = mmap(bytes.queues, protection, flags, fd, 0);
    if (queues < 0) return closed(fd, queues);
    const sqes = mmap(bytes.sqes, protection, flags, fd, IO_URING.IORING_OFF_SQES);
    if (sqes < 0) {
      munmap(queues, bytes.queues);
      return closed(fd, sqes);
    }
    const view = (address: number, length: number): Int32Array => new Int32Array(viewOf(address, length));
    return new Ring(fd, params, view(queues, bytes.queues), view(sqes, bytes.sqes), () => {
      munmap(queues, bytes.queues);
      munmap(sqes, bytes.sqes);
    });
  }

  /**
   * Clears the next submission queue entry and returns its first index in `sqes`. The caller makes sure that there is
   * room.
   */
  next(): number {
    const at = (this.#tail & this.#sqMask) * SQE_WORDS;
    this.#tail = (this.#tail + 1) | 0;
    return at;
  }

  /** Entries written and not yet taken by `enter`. */
  get unsubmitted(): number {
    return (this.#tail - this.#submitted) | 0;
  }

  /**
   * Submits what was written; with GETEVENTS the kernel also posts pending completions. Returns entries taken, or
   * -errno.
   */
  enter(flags: number): number {
    Atomics.store(this.cqes, this.#sqTail, this.#tail);
    const taken = ioUringEnter(this.fd, this.unsubmitted, flags);
    if (taken > 0) this.#submitted = (this.#submitted + taken) | 0;
    return taken;
  }

  /**
   * As `enter`, and waits until so many completions are there, `WAIT_LIMIT_MS` at the most. Returns -ETIME after that,
   * if nothing was submitted.
   */
  enterAndWait(completions: number): number {
    Atomics.store(this.cqes, this.#sqTail, this.#tail);
    const taken = ioUringEnterAndWait(this.fd, this.unsubmitted, completions, this.#limitAddress, GETEVENTS_ARG.size);
    if (taken > 0) this.#submitted = (this.#submitted + taken) | 0;
    return taken;
  }

  /** True if the kernel has work that it does only in `enter`. */
  get hasTaskWork(): boolean {
    return (
      (Atomics.load(this.cqes, this.#sqFlags) & (IO_URING.IORING_SQ_TASKRUN | IO_URING.IORING_SQ_CQ_OVERFLOW)) !== 0
    );
  }

  /** Number of completions to read. */
  get completions(): number {
    return (Atomics.load(this.cqes, this.#cqTail) - this.#head) | 0;
  }

  /** Index in `cqes` of the first word of the i-th completion, oldest first. */
  completionAt(i: number): number {
    return this.#firstCqe + ((this.#head + i) & this.#cqMask) * CQE_WORDS;
  }

  /**
   * Releases the oldest `count` completions. Called once for a batch, because an Atomics operation costs 8 to 17 ns on
   * Node 20.
   */
  consume(count: number): void {
    this.#head = (this.#head + count) | 0;
    Atomics.store(this.cqes, this.#cqHead, this.#head);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#forgetTeardown();
    close(this.fd);
    this.#unmap?.();
  }
}

function paramsOf({ completions, flags = 0 }: RingOptions, more: number): Uint32Array {
  const params = new Uint32Array(new ArrayBuffer(PARAMS.size));
  params[PARAMS.fields.flags / 4] = flags | more | IO_URING.IORING_SETUP_CLAMP;
  if (completions !== undefined) {
    params[PARAMS.fields.flags / 4]! |= IO_URING.IORING_SETUP_CQSIZE;
    params[PARAMS.fields.cq_entries / 4] = completions;
  }
  return params;
}

/** Sizes in bytes of the queues and of the submission queue entries. */
function extentOf(params: Uint32Array): { queues: number; sqes: number } {
  const sqArray = params[(PARAMS.fields.sq_off + SQ_OFFSETS.fields.array) / 4]!;
  const cqes = params[(PARAMS.fields.cq_off + CQ_OFFSETS.fields.cqes) / 4]!;
  const sqEntries = params[0]!;
  const queues = Math.max(sqArray + sqEntries * 4, cqes + params[PARAMS.fields.cq_entries / 4]! * CQE.size);
  return { queues, sqes: sqEntries * SQE.size };
}

function powerOfTwo(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, atLeast)));
}

function closed(fd: number, errno: number): number {
  close(fd);
  return errno;
}
