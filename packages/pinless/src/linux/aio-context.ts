/**
 * A Linux AIO context: submits requests by io_submit, and reads completions from the ring that the kernel maps. It
 * doesn't interpret requests.
 */

import { IO_EVENT, IOCB } from "../abi/layouts.js";
import { AIO, EVENTFD } from "../abi/numbers.js";
import { EINVAL, ENOSYS } from "../protocol/errno.js";
import { close, eventfd, ioCancel, ioDestroy, ioGetevents, ioSetup, ioSubmit } from "./libc.js";
import { addressOf, viewOf } from "./libc-bindings.js";

const IOCB_WORDS = IOCB.size / 4;
const EVENT_WORDS = IO_EVENT.size / 4;
const POINTER_BYTES = 8;

/**
 * Head of the completion ring, in 32-bit words: struct aio_ring of fs/aio.c. No kernel header exports it, but its magic
 * and features identify it, and libaio, fio and QEMU have relied on it for years.
 */
const RING = { nr: 1, head: 2, tail: 3, magic: 4, incompatFeatures: 6, headerLength: 7 } as const;
const RING_HEAD_BYTES = 32;
const MAGIC = 0xa10a10a1 | 0;

export interface AioOptions {
  /** Maximum number of requests in flight. */
  readonly depth: number;
  /** Reads completions by io_getevents even if there is a ring. */
  readonly withoutRing?: boolean;
}

export class AioContext {
  readonly #context: number;
  readonly #depth: number;
  /** The requests, one for each slot, as 32-bit words, followed by the array of pointers for io_submit. */
  readonly iocbs: Int32Array;
  readonly #pointers: Int32Array;
  readonly #address: number;
  readonly #pointersAddress: number;
  #unsubmitted = 0;
  #inFlight = 0;
  /** The ring, or the buffer that io_getevents fills. */
  #events: Int32Array;
  readonly #scratch: { readonly memory: ArrayBuffer; readonly address: number } | null;
  readonly #firstEvent: number;
  /** Capacity of the ring in events. */
  readonly #places: number;
  #head = 0;
  /** Events in the buffer of io_getevents, if there is no ring. */
  #fetched = 0;
  #open = true;

  private constructor(context: number, { depth, withoutRing = false }: AioOptions) {
    this.#context = context;
    this.#depth = depth;
    const memory = new ArrayBuffer(depth * (IOCB.size + POINTER_BYTES) + IO_EVENT.size);
    this.iocbs = new Int32Array(memory, 0, depth * IOCB_WORDS);
    this.#pointers = new Int32Array(memory, depth * IOCB.size, depth * 2);
    this.#address = addressOf(memory);
    this.#pointersAddress = this.#address + depth * IOCB.size;
    const head = new Int32Array(viewOf(context, RING_HEAD_BYTES));
    if (!withoutRing && head[RING.magic] === MAGIC && head[RING.incompatFeatures] === 0) {
      const headBytes = head[RING.headerLength]!;
      this.#scratch = null;
      this.#places = head[RING.nr]!;
      this.#firstEvent = headBytes / 4;
      this.#events = new Int32Array(viewOf(context, headBytes + this.#places * IO_EVENT.size));
      this.#head = this.#events[RING.head]!;
    } else {
      // The buffer begins with a timeout of 0, so that io_getevents never waits.
      const scratch = new ArrayBuffer((depth + 1) * IO_EVENT.size);
      this.#scratch = { memory: scratch, address: addressOf(scratch) };
      this.#places = depth;
      this.#firstEvent = EVENT_WORDS;
      this.#events = new Int32Array(scratch);
    }
  }

  /**
   * Opens a context and tests it. Returns -errno on failure: ENOSYS (no AIO), EAGAIN (fs.aio-max-nr is used up), EPERM
   * (forbidden).
   */
  static open(options: AioOptions): AioContext | number {
    const out = new BigUint64Array(new ArrayBuffer(128));
    const made = ioSetup(options.depth, addressOf(out.buffer));
    if (made < 0) return made;
    const context = new AioContext(Number(out[0]), options);
    const tried = context.#try();
    if (tried === 0) return context;
    context.close();
    return tried;
  }

  /**
   * Tests the context by a read of an empty eventfd; returns 0 or -errno. A seccomp filter may allow io_setup and
   * forbid the other calls: then every request would fail, or a pending pipe request could never be cancelled.
   */
  #try(): number {
    // The arguments of these two calls are invalid, so EINVAL shows that they're allowed; a filter returns something
    // else.
    const forbidden = [this.cancel(0), ioDestroy(0)].find((errno) => errno !== -EINVAL);
    if (forbidden !== undefined) return forbidden;
    const event = eventfd(EVENTFD.EFD_NONBLOCK | EVENTFD.EFD_CLOEXEC);
    if (event < 0) return event;
    const at = this.next(0);
    this.iocbs[at + IOCB.fields.aio_lio_opcode / 4] = AIO.IOCB_CMD_PREAD;
    this.iocbs[at + IOCB.fields.aio_fildes / 4] = event;
    this.iocbs[at + IOCB.fields.aio_buf / 4] = this.#pointersAddress | 0;
    this.iocbs[at + IOCB.fields.aio_buf / 4 + 1] = Math.floor(this.#pointersAddress / 2 ** 32);
    this.iocbs[at + IOCB.fields.aio_nbytes / 4] = POINTER_BYTES;
    const taken = this.submit();
    close(event);
    if (taken < 0) this.skip();
    this.iocbs.fill(0, at, at + IOCB_WORDS);
    // Before Linux 5.8 AIO can't read an eventfd, but the answer shows that io_submit is allowed.
    if (taken < 0) return taken === -EINVAL ? 0 : taken;
    if (this.completions !== 1) return -ENOSYS;
    this.consume(1);
    return 0;
  }

  /** Returns the index in `iocbs` of the first word of a slot's request, which goes with the next `submit`. */
  next(slot: number): number {
    const address = this.#address + slot * IOCB.size;
    const at = 2 * this.#unsubmitted++;
    this.#pointers[at] = address | 0;
    this.#pointers[at + 1] = Math.floor(address / 2 ** 32);
    return slot * IOCB_WORDS;
  }

  get unsubmitted(): number {
    return this.#unsubmitted;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Submits the requests written since the last call. Returns how many were taken, or -errno of the first; that one
   * stays first, to be removed with `skip` or tried again later (EAGAIN).
   */
  submit(): number {
    const taken = ioSubmit(this.#context, this.#unsubmitted, this.#pointersAddress);
    if (taken > 0) {
      this.#inFlight += taken;
      this.#drop(taken);
    }
    return taken;
  }

  /** Removes the first request that wasn't taken; returns its slot. */
  skip(): number {
    const low = this.#pointers[0]! >>> 0;
    this.#drop(1);
    return ((low - (this.#address % 2 ** 32) + 2 ** 32) % 2 ** 32) / IOCB.size;
  }

  #drop(count: number): void {
    this.#unsubmitted -= count;
    if (this.#unsubmitted > 0) this.#pointers.copyWithin(0, 2 * count, 2 * (count + this.#unsubmitted));
  }

  /** Requests the cancellation of a slot's request, which completes in any case. AIO can cancel only polls. */
  cancel(slot: number): number {
    const event = this.#address + this.#depth * (IOCB.size + POINTER_BYTES);
    return ioCancel(this.#context, this.#address + slot * IOCB.size, event);
  }

  /** Number of completions to read. */
  get completions(): number {
    if (!this.#open) return 0;
    if (this.#scratch === null) {
      const count = Atomics.load(this.#events, RING.tail) - this.#head;
      return count < 0 ? count + this.#places : count;
    }
    if (this.#fetched === 0 && this.#inFlight > 0) {
      const { address } = this.#scratch;
      const events = address + this.#firstEvent * 4;
      // After an error (EINTR) there are none; the next call asks again.
      this.#fetched = Math.max(0, ioGetevents(this.#context, 0, this.#places, events, address));
      this.#head = 0;
    }
    return this.#fetched;
  }

  /** Memory of the completions, as 32-bit words. */
  get events(): Int32Array {
    return this.#events;
  }

  /** Index in `events` of the first word of the i-th completion, oldest first. */
  completionAt(i: number): number {
    const place = this.#head + i;
    return this.#firstEvent + (place < this.#places ? place : place - this.#places) * EVENT_WORDS;
  }

  /** Releases the oldest `count` completions. */
  consume(count: number): void {
    this.#inFlight -= count;
    this.#head += count;
    if (this.#scratch !== null) {
      this.#fetched -= count;
      return;
    }
    if (this.#head >= this.#places) this.#head -= this.#places;
    Atomics.store(this.#events, RING.head, this.#head);
  }

  /**
   * Closes the context. This waits for what is in flight, and some 30 ms for an RCU grace period. A terminated worker
   * can't call it: then the context counts in fs.aio-nr until the process ends, but pins no pages.
   */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // The kernel unmaps the ring with the context.
    this.#events = new Int32Array(0);
    ioDestroy(this.#context);
  }
}
