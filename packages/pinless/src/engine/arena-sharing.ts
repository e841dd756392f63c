/** Sharing of an arena, on the owner's side: tokens, the engines that have attached it, and what they ask for. */

import type { ArenaToken, Channel, Channels } from "../ports/channel.js";
import type { OperationReport } from "../ports/stats.js";
import type { AttachedEngine } from "../protocol/attached-engines.js";
import { unsupported } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import type { Segment } from "../protocol/segment.js";
import { type FromAttached, type FromOwner, type SharedMemory, type SharedPart, sent } from "./sharing-messages.js";

/** The engine as the sharing of its arenas sees it. */
export interface SharingHost {
  readonly protocol: Protocol;
  readonly channels: Channels | undefined;
  /** Word that the monitor raises while it reads events; null if there is no monitor. */
  readonly reading: Int32Array | null;
}

/** The arena's operations that other threads may ask for. */
export interface SharedOperations {
  discard(range: Uint8Array | undefined, options: { lazily?: boolean }): Promise<OperationReport>;
  collapse(range?: Uint8Array): Promise<OperationReport>;
  pageOut(range?: Uint8Array): Promise<OperationReport>;
  migrate(options: { node: number }, range?: Uint8Array): Promise<OperationReport>;
  protect(access: "read" | "readwrite", range?: Uint8Array): Promise<OperationReport>;
  exclusive<T>(range: Uint8Array, run: () => Promise<T>): Promise<OperationReport & { readonly result: T }>;
}

export class ArenaSharing {
  readonly #host: SharingHost;
  readonly #arena: SharedOperations;
  /** The arena's segments, a list that grows with it. */
  readonly #segments: readonly Segment[];
  readonly #closed = new Int32Array(new SharedArrayBuffer(4));
  readonly #channels = new Set<Channel>();

  constructor(host: SharingHost, arena: SharedOperations, segments: readonly Segment[]) {
    this.#host = host;
    this.#arena = arena;
    this.#segments = segments;
  }

  token(): ArenaToken {
    const { channels, protocol, reading } = this.#host;
    if (channels === undefined) throw unsupported("arenas can't be shared here: there are no other threads");
    const segments = [...this.#segments];
    const memory: SharedMemory = {
      kind: "memory",
      segments: segments.map(({ buffer, bufferAddress, range, table }) => ({
        buffer: buffer as SharedArrayBuffer,
        bufferAddress,
        range,
        chunkBytes: table.chunkBytes,
        words: table.words,
      })),
      reading,
      closed: this.#closed,
    };
    const { channel, token } = channels.open(memory);
    this.#channels.add(channel);
    const other = new OtherThread(channel, protocol, this.#arena, segments);
    channel.listen(
      (message: FromAttached) => other.obey(message),
      () => {
        other.end();
        this.#channels.delete(channel);
      },
    );
    return token;
  }

  /** Ends all channels, once the memory is closed. */
  close(): void {
    Atomics.store(this.#closed, 0, 1);
    for (const channel of this.#channels) {
      channel.send({ kind: "closed" } satisfies FromOwner);
      channel.close();
    }
  }
}

/** The other side of a token: an engine that has attached the arena, or may. */
class OtherThread {
  readonly #channel: Channel;
  readonly #protocol: Protocol;
  readonly #arena: SharedOperations;
  readonly #segments: readonly Segment[];
  #engine: AttachedEngine | null = null;
  /** Ends of its calls of `exclusive`, by their number. */
  readonly #exclusives = new Map<number, () => void>();

  constructor(channel: Channel, protocol: Protocol, arena: SharedOperations, segments: readonly Segment[]) {
    this.#channel = channel;
    this.#protocol = protocol;
    this.#arena = arena;
    this.#segments = segments;
  }

  #send(message: FromOwner): void {
    this.#channel.send(message);
    if (message.kind === "stop") this.#channel.keepAlive(true);
  }

  obey(message: FromAttached): void {
    switch (message.kind) {
      case "attach":
        this.#attach(message.words);
        break;
      case "stopped":
        this.#engine!.stopped(message.id);
        this.#channel.keepAlive(this.#engine!.isAwaited);
        break;
      case "call":
        this.#call(message).then(
          (report) => this.#send({ kind: "answer", id: message.id, report }),
          (error: unknown) => this.#send({ kind: "failure", id: message.id, error: sent(error) }),
        );
        break;
      case "done":
        this.#exclusives.get(message.id)?.();
        break;
    }
  }

  #attach(words: readonly Int32Array[]): void {
    // Segments that were closed meanwhile are about to be reported so.
    if (this.#segments.some(({ closed }) => closed)) return;
    const parts = this.#segments.map(({ table }, i) => ({ table, words: words[i]! }));
    this.#engine = this.#protocol.attached.add(parts, (message) => this.#send(message));
    this.#send({ kind: "attached" });
  }

  #call({ id, what, part }: FromAttached & { kind: "call" }): Promise<OperationReport> {
    const arena = this.#arena;
    const range = part === null ? undefined : this.#view(part);
    switch (what.operation) {
      case "discard":
        return arena.discard(range, what.options);
      case "migrate":
        return arena.migrate(what.options, range);
      case "protect":
        return arena.protect(what.access, range);
      case "exclusive":
        return this.#exclusive(id, range!);
      default:
        return arena[what.operation](range);
    }
  }

  #view({ segment, offset, bytes }: SharedPart): Uint8Array {
    const { buffer, bufferAddress, range } = this.#segments[segment]!;
    return new Uint8Array(buffer, range.start - bufferAddress + offset, bytes);
  }

  /** Gives the other thread a range to itself, until it's done or ends. */
  async #exclusive(id: number, range: Uint8Array): Promise<OperationReport> {
    const { result: _, ...report } = await this.#arena.exclusive(range, () => {
      this.#send({ kind: "yours", id });
      return new Promise<void>((resolve) => this.#exclusives.set(id, resolve));
    });
    this.#exclusives.delete(id);
    return report;
  }

  /** Stops waiting for the other thread: it has detached the arena, or has ended. */
  end(): void {
    if (this.#engine !== null) this.#protocol.attached.remove(this.#engine);
    this.#engine = null;
    for (const done of this.#exclusives.values()) done();
  }
}
