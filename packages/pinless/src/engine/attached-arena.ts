/** Arena of another thread's engine, attached by its token. */

import type { CallsInFlight } from "../files/calls-in-flight.js";
import type { Channel } from "../ports/channel.js";
import type { OperationReport } from "../ports/stats.js";
import { Attachment } from "../protocol/attachment.js";
import { CHUNK_WORDS, ChunkTable, SEGMENTS } from "../protocol/chunk-table.js";
import { EFAULT } from "../protocol/errno.js";
import { argumentError, PinlessError } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import { FreeList } from "../protocol/ranges/free-list.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import { contains } from "../protocol/ranges/ranges.js";
import type { Loop } from "../protocol/scheme.js";
import { rangeIn, type Segment } from "../protocol/segment.js";
import { bufferAt } from "./arena-buffers.js";
import {
  type FromAttached,
  type FromOwner,
  received,
  type SharedMemory,
  type SharedOperation,
  type SharedPart,
} from "./sharing-messages.js";

/**
 * The engine as an attached arena sees it.
 *
 * @internal
 */
export interface AttachingHost {
  readonly protocol: Protocol;
  readonly loop: Loop;
  readonly callsInFlight: CallsInFlight;
  adopt(segment: Segment): void;
  abandon(segment: Segment): void;
  closed(arena: AttachedArena): void;
}

/** A call whose answer is awaited. */
interface Call {
  resolve(report: OperationReport): void;
  reject(error: Error): void;
  /** Runs the function of an `exclusive`, once the range is this thread's. */
  readonly run: () => void;
  /** Settles with the call. */
  ended: Promise<OperationReport>;
}

/**
 * Memory of an arena that another thread's engine owns, for I/O by this thread's engine. `engine.attach()` returns it.
 *
 * Memory operations by any thread, and memory calls of other code, wait for the I/O of all of them. They're done by the
 * owner's thread, so each waits until that has a turn, and all operations of the owner wait for this thread's turn.
 *
 * Errors are those of {@link Arena}. Once the owner has closed the arena, I/O on its memory fails with EFAULT here too,
 * and calls reject with `ERR_PINLESS_CLOSED`; so they do once the owner's thread has ended.
 *
 * @example
 * ```ts
 * // In a worker; the owner did `worker.postMessage(token, [token])`, with a token from arena.share().
 * const arena = await engine.attach(token);
 * const buffer = arena.view(0, 1 << 20);
 * await file.read(buffer, { position: 0 });
 * await arena.close();
 * ```
 */
export class AttachedArena {
  readonly #host: AttachingHost;
  readonly #channel: Channel;
  readonly #segments: readonly Segment[];
  readonly #attachment: Attachment;
  readonly #calls = new Map<number, Call>();
  #lastId = 0;
  #state: "attaching" | "open" | "closing" | "closed" = "attaching";
  #closing: Promise<void> | null = null;
  #settle: { resolve(): void; reject(error: Error): void } | null = null;

  /**
   * Not for callers: `engine.attach()` makes them.
   *
   * @internal
   */
  constructor(host: AttachingHost, channel: Channel, memory: SharedMemory) {
    this.#host = host;
    this.#channel = channel;
    this.#segments = memory.segments.map(({ buffer, bufferAddress, range, chunkBytes, words }) => {
      const reading = memory.reading ?? new Int32Array(1);
      const table = new ChunkTable(range, chunkBytes, undefined, { chunks: words, reading });
      for (let c = 0; c < table.chunks; c++) table.store(c, SEGMENTS, Atomics.load(words, c * CHUNK_WORDS + SEGMENTS));
      // All of it counts as allocated: only the owner knows what is.
      const free = new FreeList(range.end - range.start, chunkBytes);
      free.allocate(range.end - range.start, PAGE_BYTES);
      const { protocol } = host;
      return {
        buffer,
        bufferAddress,
        range,
        table,
        free,
        protocol,
        copier: null,
        index: -1,
        closed: false,
        registeredSlot: -1,
      };
    });
    const tables = this.#segments.map(({ table }) => table);
    this.#attachment = new Attachment({ ...host, tables, post: (answer) => this.#send(answer) });
  }

  #send(message: FromAttached): void {
    this.#channel.send(message);
  }

  /** Resolves once the owner's invalidations wait for this engine. */
  attach(): Promise<void> {
    for (const segment of this.#segments) this.#host.adopt(segment);
    this.#channel.listen(
      (message: FromOwner) => this.#obey(message),
      () => void this.#ownerIsGone(),
    );
    this.#channel.keepAlive(true);
    this.#send({ kind: "attach", words: this.#segments.map(({ table }) => table.words) });
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
  }

  #obey(message: FromOwner): void {
    switch (message.kind) {
      case "attached":
        this.#state = "open";
        this.#channel.keepAlive(false);
        this.#settle!.resolve();
        break;
      case "closed":
        void this.#ownerIsGone();
        break;
      case "yours":
        this.#calls.get(message.id)!.run();
        break;
      case "answer":
        this.#answered(message.id)!.resolve(message.report);
        break;
      case "failure":
        this.#answered(message.id)!.reject(received(message.error));
        break;
      default:
        if (message.kind === "stop" && message.event === "UNMAP") this.#stopStreams();
        this.#attachment.obey(message);
    }
  }

  #answered(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (this.#calls.size === 0) this.#channel.keepAlive(false);
    return call;
  }

  /** Ends reads of pipes and sockets into the memory, which may never end by themselves. */
  #stopStreams(): void {
    for (const segment of this.#segments) {
      segment.closed = true;
      this.#host.callsInFlight.cancelStreamCalls(segment.range, EFAULT);
    }
  }

  /** Size of all its memory, in bytes, as it was when the owner shared it. */
  get bytes(): number {
    return this.#segments.reduce((sum, { range }) => sum + range.end - range.start, 0);
  }

  /**
   * Returns a view of the memory at a position. The owner's `arena.positionOf(buffer)` gives that of a buffer.
   *
   * @param position - Offset in the arena, in bytes
   * @param bytes - Length of the view
   * @throws `ERR_OUT_OF_RANGE` if the bytes aren't all in one segment of the arena (at most 4 GiB)
   */
  view(position: number, bytes: number): Uint8Array {
    this.#assertOpen();
    let start = 0;
    for (const segment of this.#segments) {
      const end = start + segment.range.end - segment.range.start;
      if (Number.isSafeInteger(position) && Number.isSafeInteger(bytes) && bytes > 0)
        if (position >= start && position + bytes <= end)
          return bufferAt(segment, segment.range.start + position - start, bytes);
      start = end;
    }
    throw argumentError(
      "ERR_OUT_OF_RANGE",
      `no segment of the arena contains ${bytes} bytes from position ${position} on; it has ${start} bytes`,
    );
  }

  /** As {@link Arena.discard}. */
  discard(range?: ArrayBufferView, options: { lazily?: boolean } = {}): Promise<OperationReport> {
    return this.#call({ operation: "discard", options }, range);
  }

  /** As {@link Arena.collapse}. */
  collapse(range?: ArrayBufferView): Promise<OperationReport> {
    return this.#call({ operation: "collapse" }, range);
  }

  /** As {@link Arena.pageOut}. */
  pageOut(range?: ArrayBufferView): Promise<OperationReport> {
    return this.#call({ operation: "pageOut" }, range);
  }

  /** As {@link Arena.migrate}. */
  migrate(options: { node: number }, range?: ArrayBufferView): Promise<OperationReport> {
    return this.#call({ operation: "migrate", options }, range);
  }

  /** As {@link Arena.protect}. A range is whole pages. */
  protect(access: "read" | "readwrite", range?: ArrayBufferView): Promise<OperationReport> {
    return this.#call({ operation: "protect", access }, range);
  }

  /**
   * As {@link Arena.exclusive}, for I/O of all threads. JavaScript of other threads isn't kept out.
   *
   * @param range - A view of the arena
   * @param fn - Gets the bytes of the range; may be async
   * @returns The report, with the value that `fn` returned, or resolved to, as `result`
   */
  async exclusive<T>(
    range: ArrayBufferView,
    fn: (bytes: Uint8Array) => T | PromiseLike<T>,
  ): Promise<OperationReport & { readonly result: T }> {
    if (typeof fn !== "function")
      throw argumentError("ERR_INVALID_ARG_TYPE", `the second argument must be a function. Received ${typeof fn}`);
    const bytes = new Uint8Array(range.buffer, range.byteOffset, range.byteLength);
    let running: Promise<T> | null = null;
    const report = await this.#call({ operation: "exclusive" }, range, (id) => {
      running = (async () => fn(bytes))();
      const done = (): void => this.#send({ kind: "done", id });
      running.then(done, done);
    });
    return { ...report, result: await running! };
  }

  async #call(
    what: SharedOperation,
    range: ArrayBufferView | undefined,
    run: (id: number) => void = () => {},
  ): Promise<OperationReport> {
    this.#assertOpen();
    const part = range === undefined ? null : this.#partOf(range);
    const id = ++this.#lastId;
    const call: Partial<Call> = { run: () => run(id) };
    call.ended = new Promise((resolve, reject) => Object.assign(call, { resolve, reject }));
    this.#calls.set(id, call as Call);
    this.#send({ kind: "call", id, what, part });
    this.#channel.keepAlive(true);
    return call.ended;
  }

  #partOf(view: ArrayBufferView): SharedPart {
    if (!ArrayBuffer.isView(view))
      throw argumentError(
        "ERR_INVALID_ARG_TYPE",
        `the range must be a view of this arena's memory. Received ${typeof view}`,
      );
    const segment = this.#segments.findIndex(({ buffer }) => buffer === view.buffer);
    if (segment >= 0) {
      const { range } = this.#segments[segment]!;
      const part = rangeIn(this.#segments[segment]!, view);
      if (contains(range, part) && part.start < part.end)
        return { segment, offset: part.start - range.start, bytes: view.byteLength };
    }
    throw new PinlessError(
      "ERR_PINLESS_RANGE",
      `the range must be a non-empty view from view() of this arena. Received ${view.byteLength} bytes of other memory`,
    );
  }

  /** Waits for this engine's I/O on the memory, and detaches it. The owner and other engines go on with it. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#state = "closing";
    this.#settle?.reject(closedError());
    await Promise.allSettled([...this.#calls.values()].map(({ ended }) => ended));
    this.#stopStreams();
    for (const segment of this.#segments) {
      const { range } = segment;
      const { protocol, callsInFlight } = this.#host;
      await new Promise<void>((resolve) => callsInFlight.whenQuiet(range, { streamCalls: false }, resolve));
      await new Promise<void>((resolve) => protocol.dispatcher.whenQuiet(range, resolve));
      await this.#unmap(segment);
    }
    this.#state = "closed";
    this.#channel.close();
    for (const segment of this.#segments) this.#host.abandon(segment);
    this.#host.closed(this);
  }

  /** Drains a segment of this engine's I/O and leases, for good. */
  async #unmap({ range }: Segment): Promise<void> {
    const { protocol } = this.#host;
    let ready = (): void => {};
    const begun = new Promise<void>((resolve) => {
      ready = resolve;
    });
    const invalidation = protocol.invalidate(range, "UNMAP", ready);
    await begun;
    protocol.notifier.invalidateRangeEnd(invalidation);
  }

  /** Closes the arena, because its owner has, or has ended. */
  async #ownerIsGone(): Promise<void> {
    if (this.#state === "closed") return;
    for (const { reject } of this.#calls.values()) reject(closedError());
    this.#calls.clear();
    this.#attachment.ownerIsGone();
    await this.close();
  }

  /** Closes the arena at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertOpen(): void {
    if (this.#state !== "open") throw closedError();
  }
}

export function closedError(): PinlessError {
  return new PinlessError(
    "ERR_PINLESS_CLOSED",
    "the shared arena was closed, here or by its owner, or the owner's thread has ended: attach another",
  );
}
