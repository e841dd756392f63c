/** The load of a tour's program: reads of a file into random buffers, a number of them in flight, each checked. */

import { invariant, PAGE_BYTES, type PortableEngine } from "pinless/portable";
import type { Machine } from "../model/machine.js";
import { READ_BLOCKS } from "../simulate/requests.js";

export type TourArena = Awaited<ReturnType<PortableEngine["arena"]>>;
export type TourFile = Awaited<ReturnType<PortableEngine["openFile"]>>;

/** Pages of a request: 64 KiB. */
export const REQUEST_PAGES = 16;

interface Buffer {
  readonly view: Uint8Array;
  readonly firstPage: number;
  /** First block of its last read, and the number of discards that there had been when that began. */
  block: number;
  discards: number;
}

export class ReadLoad {
  /** Reads to keep in flight. */
  wanted = 0;
  inFlight = 0;
  completed = 0;
  /** Reads that have succeeded, and whose data isn't in the buffer: it went to frames that nobody sees any more. */
  lost = 0;
  /** True while a call of the kernel waits for reads in flight: it keeps new ones out, as the proposal has it. */
  keptOut = false;
  /** Discards by other code so far. A read that one came under may have been discarded, and isn't checked. */
  discards = 0;
  /** The buffer at the start of the arena; the others follow it without gaps. */
  readonly first: Readonly<Buffer>;
  readonly #machine: Machine;
  readonly #file: TourFile;
  readonly #idle: Buffer[];
  readonly #draw;

  constructor(machine: Machine, arena: TourArena, file: TourFile, arenaPages: number) {
    this.#machine = machine;
    this.#file = file;
    this.#idle = Array.from({ length: arenaPages / REQUEST_PAGES }, () => {
      const view = arena.alloc(REQUEST_PAGES * PAGE_BYTES);
      return { view, firstPage: machine.pageAt(machine.addressOfView(view)), block: 0, discards: 0 };
    });
    this.first = this.#idle[0]!;
    this.#draw = { buffer: machine.random.stream("buffer"), block: machine.random.stream("block") };
  }

  /** Submits reads until as many as wanted are in flight. */
  fill(): void {
    while (!this.keptOut && this.inFlight < this.wanted && this.#idle.length > 0) {
      const at = this.#draw.buffer.below(this.#idle.length);
      const buffer = this.#idle[at]!;
      buffer.block = this.#draw.block.below(READ_BLOCKS - REQUEST_PAGES);
      buffer.discards = this.discards;
      const answer = this.#file.submit("read", buffer.view, buffer.block * PAGE_BYTES, (errno, bytes) =>
        this.#hasRead(buffer, errno, bytes),
      );
      if (answer === "busy") return;
      this.#idle[at] = this.#idle.at(-1)!;
      this.#idle.pop();
      this.inFlight++;
    }
  }

  #hasRead(buffer: Buffer, errno: number, bytes: number): void {
    invariant("EXACTLY_ONCE", errno === 0 && bytes === buffer.view.byteLength, `a read ended with ${errno}, ${bytes}`);
    this.inFlight--;
    this.completed++;
    this.#idle.push(buffer);
    if (buffer.discards === this.discards && !this.#arrived(buffer)) this.lost++;
  }

  /** True if the memory holds what the disk has. Block b of the file holds the content -1 - b. */
  #arrived({ firstPage, block }: Buffer): boolean {
    for (let i = 0; i < REQUEST_PAGES; i++)
      if (this.#machine.memory.peek(firstPage + i) !== -1 - block - i) return false;
    return true;
  }
}
