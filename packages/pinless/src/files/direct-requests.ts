/** Direct requests of a file: the hot path, from a buffer of an arena to the dispatcher, without allocating. */

import type { OpenedFile } from "../ports/opened-file.js";
import { BUSY, COUNTED, type Done, type Owner, type WaitPolicy } from "../protocol/acceptance.js";
import { type Direction, READ, WRITE } from "../protocol/direction.js";
import type { Dispatcher } from "../protocol/dispatcher.js";
import { RWF } from "../protocol/how.js";
import type { Protocol } from "../protocol/protocol.js";
import { isFreed, LOCATION, locationIn, type SegmentLocation } from "../protocol/segment.js";
import type { BufferedShare } from "./buffered-share.js";
import type { FileHost } from "./file-host.js";
import type { FileLifetime } from "./file-lifetime.js";
import type { IoPaths } from "./io-paths.js";
import type { MountOptions } from "./mount-options.js";
import type { WriteOrder } from "./write-ordering.js";

export class DirectRequests {
  readonly #host: FileHost;
  readonly #protocol: Protocol;
  readonly #dispatcher: Dispatcher;
  readonly #owner: Owner;
  readonly #paths: IoPaths;
  readonly #writeOrder: WriteOrder;
  readonly #bufferedShare: BufferedShare;
  readonly #memoryMask: number;
  readonly #readMask: number;
  readonly #writeMask: number;
  readonly #mount: MountOptions;
  readonly #directWrites: boolean;

  constructor(host: FileHost, opened: OpenedFile, { owner, paths, transfers }: FileLifetime) {
    this.#host = host;
    this.#protocol = host.protocol;
    this.#dispatcher = host.protocol.dispatcher;
    this.#owner = owner;
    this.#paths = paths;
    this.#writeOrder = transfers.writeOrder;
    this.#bufferedShare = paths.bufferedShare;
    this.#memoryMask = opened.memoryAlign - 1;
    this.#readMask = opened.readAlign - 1;
    this.#writeMask = opened.offsetAlign - 1;
    this.#mount = transfers.mount;
    this.#directWrites = paths.hasDirectWrites;
  }

  /** True if a submission would overtake a call that waits for a slot. */
  wouldOvertake(): boolean {
    return this.#dispatcher.room !== null && this.#host.submissions.wouldOvertake;
  }

  /** Hands a request to the dispatcher; false means busy. */
  accept(
    direction: Direction,
    location: SegmentLocation,
    position: number,
    done: Done,
    waitPolicy: WaitPolicy,
    how: number,
  ): boolean {
    const answer = this.#dispatcher.accept(
      direction,
      this.#paths.usableDirect,
      this.#owner,
      COUNTED,
      location,
      position,
      done,
      waitPolicy,
      how & ~RWF.RWF_DONTCACHE,
    );
    if (answer === BUSY) return false;
    if (direction === WRITE) this.#writeOrder.overwritten(position, position + location.bytes);
    this.#bufferedShare.direct++;
    return true;
  }

  /** Location of a buffer that a request can transfer directly; null if it has to take another path. */
  locate(direction: Direction, buffer: ArrayBufferView, position: number, how: number): SegmentLocation | null {
    // What the mount hasn't taken yet is tried on the other path, which knows what to do if it is refused.
    if (how !== 0 && !this.#mount.takes(how & ~RWF.RWF_DONTCACHE)) return null;
    if (direction === WRITE && (!this.#directWrites || !this.#writeOrder.direct)) return null;
    const location = (buffer as { [LOCATION]?: SegmentLocation })[LOCATION] ?? this.lookUp(buffer);
    if (location === null || location.segment.closed || location.segment.protocol !== this.#protocol) return null;
    if (direction === READ && location.segment.copier !== null) return null;
    // Bitwise operators keep the low 32 bits of a double, and alignment needs only those.
    const offsetMask = direction === READ ? this.#readMask : this.#writeMask;
    if (((position | location.bytes) & offsetMask) !== 0 || (location.address & this.#memoryMask) !== 0) return null;
    return this.#paths.usableDirect >= 0 || this.#paths.openDirect() ? location : null;
  }

  /** True for memory of an arena of the engine, aligned for direct I/O. */
  isInArena(buffer: ArrayBufferView): boolean {
    const location = (buffer as { [LOCATION]?: SegmentLocation })[LOCATION] ?? this.lookUp(buffer);
    return location?.segment.protocol === this.#protocol && (location.address & this.#memoryMask) === 0;
  }

  /** Location of a view that doesn't carry its own; null if it isn't arena memory. */
  lookUp(buffer: ArrayBufferView): SegmentLocation | null {
    if (!ArrayBuffer.isView(buffer) || buffer.byteLength === 0) return null;
    const segment = this.#host.segmentOf(buffer.buffer);
    if (segment === null || isFreed(buffer)) return null;
    const address = segment.bufferAddress + buffer.byteOffset;
    const bytes = buffer.byteLength;
    // A view of the mapping that reaches outside of the arena is treated as ordinary memory.
    const inside = address >= segment.range.start && address + bytes <= segment.range.end;
    return inside ? locationIn(segment, buffer, address, bytes) : null;
  }
}
