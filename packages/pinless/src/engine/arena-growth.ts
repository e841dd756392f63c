/** Growth of an arena by segments. Growths run one after the other, since each begins where the last one has ended. */

import type { Memory, MemoryResult } from "../ports/memory.js";
import type { ArenaOptions } from "../ports/options.js";
import { ChunkTable } from "../protocol/chunk-table.js";
import { ENOMEM } from "../protocol/errno.js";
import { argumentError, type DescribeErrno, PinlessError, type SystemError, systemError } from "../protocol/errors.js";
import type { Protocol } from "../protocol/protocol.js";
import { FreeList } from "../protocol/ranges/free-list.js";
import { HUGE_PAGE_BYTES, PAGE_BYTES } from "../protocol/ranges/pages.js";
import { alignUp, type Range } from "../protocol/ranges/ranges.js";
import type { Copier, Mapping, Segment } from "../protocol/segment.js";
import { type ChunkSizes, chunkBytesOf, wantedChunkBytes } from "./chunk-size.js";
import { type Backing, type BackingFile, sizeOf } from "./file-backing.js";

/** WebAssembly's limit for one memory. */
const MAX_SEGMENT_BYTES = 4 * 2 ** 30;
/** WebAssembly memory starts on a page of its own, of 64 KiB. */
const WASM_PAGE_BYTES = 65536;

/** The engine as the growth of an arena sees it. */
export interface GrowthHost extends ChunkSizes {
  readonly memory: Memory;
  readonly protocol: Protocol;
  /** Copier into the mapping, for arenas of a file; null for anonymous memory. */
  readonly copier: Copier | null;
  readonly describe: DescribeErrno;
  adopt(segment: Segment): void;
  abandon(segment: Segment): void;
  /** Begins to follow memory calls of other code on the segment, until `unfollow`. */
  follow(segment: Segment): Promise<void>;
}

/** A mapping for a segment, and the aligned part of it that the segment uses. */
interface Room {
  readonly mapping: Mapping;
  readonly range: Range;
}

/** Called with each segment that is ready. */
type Grown = (segment: Segment, prepared: MemoryResult) => void;

export class ArenaGrowth {
  readonly #host: GrowthHost;
  readonly #options: ArenaOptions;
  readonly #file: Backing | null;
  readonly #grown: Grown;
  #bytes = 0;
  #closed = false;
  /** Tail of the queue of growths: settles with the last one. */
  #last: Promise<void> = Promise.resolve();

  /** `file` is null for anonymous memory. */
  constructor(host: GrowthHost, options: ArenaOptions, file: Backing | null, grown: Grown) {
    this.#host = host;
    this.#options = options;
    this.#file = file;
    this.#grown = grown;
  }

  /** Bytes in all segments. */
  get bytes(): number {
    return this.#bytes;
  }

  grow(bytes: number): Promise<void> {
    const growth = this.#last.then(() => this.#grow(bytes));
    this.#last = growth.catch(() => {});
    return growth;
  }

  /** Resolves once the growth in progress has ended; growths that are still queued reject. */
  close(): Promise<void> {
    this.#closed = true;
    return this.#last;
  }

  async #grow(bytes: number): Promise<void> {
    this.#assertOpen();
    const file = this.#file;
    if (file !== null) return file.with((opened) => this.#growFile(file, opened, alignUp(bytes, PAGE_BYTES)));
    const whole = alignUp(bytes, HUGE_PAGE_BYTES);
    const { memory, describe } = this.#host;
    // All of it will be populated. Beyond the memory that is left the kernel kills a process, most likely this one.
    const noRoom = memory.explainNoRoom(whole);
    if (noRoom !== null) throw becauseOf(systemError(describe, -ENOMEM, "mmap"), noRoom);
    const { inherit = false, hugePages = true } = this.#options;
    for (const room of this.#roomFor(whole)) {
      const at = { address: room.range.start, bytes: room.range.end - room.range.start };
      const prepared = await memory.run({ operation: "prepare", ...at, inherit, hugePages });
      if (prepared.errno !== 0 && prepared.done < prepared.pages) {
        // The garbage collector unmaps it, and that may take long: its pages are freed now.
        await memory.run({ operation: "discard", ...at });
        throw becauseOf(systemError(describe, prepared.errno, "madvise"), prepared.reason);
      }
      await this.#add(room, prepared);
    }
  }

  async #growFile(backing: Backing, opened: BackingFile, bytes: number): Promise<void> {
    const { memory, describe } = this.#host;
    const { path, device } = backing;
    const position = this.#bytes;
    const extend = backing.extend || position > 0;
    const before = extend ? await sizeOf(opened) : 0;
    if (extend) {
      const file = { fd: opened.fd, position };
      const { errno } = await memory.run({ operation: "extendFile", address: 0, bytes, file, device });
      if (errno !== 0) throw systemError(describe, errno, "fallocate", path);
    }
    try {
      for (const room of this.#roomFor(bytes)) await this.#mapFile(backing, opened.fd, room);
    } catch (error) {
      // The file was extended for a mapping that failed: it's truncated again, unless another process has written
      // there.
      if (
        extend &&
        this.#bytes === position &&
        before < position + bytes &&
        (await sizeOf(opened)) === position + bytes
      )
        await opened.truncate(before);
      throw error;
    }
  }

  async #mapFile({ path, device }: Backing, fd: number, room: Room): Promise<void> {
    const { memory, describe } = this.#host;
    const { inherit = false } = this.#options;
    const at = { address: room.range.start, bytes: room.range.end - room.range.start };
    const file = { fd, position: this.#bytes };
    const mapped = await memory.run({ operation: "mapFile", ...at, inherit, file, device });
    if (mapped.errno !== 0) {
      await memory.run({ operation: "mapZeros", ...at });
      throw systemError(describe, mapped.errno, "mmap", path);
    }
    await this.#add(room, mapped);
  }

  #roomFor(bytes: number): Room[] {
    const largest = MAX_SEGMENT_BYTES - Math.max(HUGE_PAGE_BYTES, this.#host.largestChunkBytes);
    const rooms: Room[] = [];
    for (let left = bytes; left > 0; left -= largest) {
      const length = Math.min(left, largest);
      // Enough room to begin on the boundary of a huge page and of a chunk; the rest of it is never touched.
      const boundary = Math.max(HUGE_PAGE_BYTES, wantedChunkBytes(length, this.#host));
      const mapping = this.#host.memory.map(length + boundary - WASM_PAGE_BYTES, this.#options.shared === true);
      const start = alignUp(mapping.address, boundary);
      rooms.push({ mapping, range: { start, end: start + length } });
    }
    return rooms;
  }

  /** Adds a segment to the arena. If the arena is closing, the segment is closed with the others. */
  async #add({ mapping, range }: Room, prepared: MemoryResult): Promise<void> {
    const { protocol, copier } = this.#host;
    const chunkBytes = chunkBytesOf(range, prepared, this.#host, protocol.notifier);
    const segment: Segment = {
      buffer: mapping.buffer,
      bufferAddress: mapping.address,
      range,
      table: new ChunkTable(range, chunkBytes),
      free: new FreeList(range.end - range.start, chunkBytes),
      protocol,
      copier,
      index: -1,
      closed: false,
      registeredSlot: -1,
    };
    this.#host.adopt(segment);
    try {
      await this.#host.follow(segment);
    } catch (error) {
      this.#host.abandon(segment);
      throw error;
    }
    this.#bytes += range.end - range.start;
    this.#grown(segment, prepared);
    this.#assertOpen();
  }

  #assertOpen(): void {
    if (this.#closed) throw closedError();
  }
}

function becauseOf(error: SystemError, reason: string | undefined): SystemError {
  if (reason !== undefined) error.message += `: ${reason}`;
  return error;
}

/** Throws `ERR_OUT_OF_RANGE` unless `bytes` is a positive whole number. */
export function assertGrowth(bytes: number): void {
  if (!Number.isSafeInteger(bytes) || bytes < 1)
    throw argumentError("ERR_OUT_OF_RANGE", `bytes must be a positive integer. Received ${String(bytes)}`);
}

export function closedError(): PinlessError {
  return new PinlessError("ERR_PINLESS_CLOSED", "the arena was closed: make another with engine.arena()");
}
