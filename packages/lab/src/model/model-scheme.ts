/**
 * The three schemes on the model. Requests are served after some time, in any order, page by page. A registration pins
 * until its tag is posted, any other request until some time after its completion.
 */

import {
  type BufferLocation,
  type CompletionSink,
  type Direction,
  EBADF,
  EIO,
  ENOMEM,
  invariant,
  PAGE_BYTES,
  type Registrations,
  type Scheme,
  type SchemeName,
  WRITE,
} from "pinless/portable";
import { FAILURES, type ModelFaults } from "./faults.js";
import type { Descriptor, ModelFile } from "./files.js";
import type { Flusher } from "./flusher.js";
import type { Machine } from "./machine.js";
import { WAIT } from "./page-tables.js";
import type { RequestFlags } from "./request-flags.js";
import {
  inFile,
  REQUEST_FIRST_PAGE,
  REQUEST_PAGES,
  REQUEST_SERVED,
  REQUEST_WRITE,
  SLOT_LIVE,
  SLOT_STATE,
} from "./tables.js";
import { Tags, type TagWay } from "./tags.js";

/** A device that stands still: longer than the monitor waits for it, shorter than anybody's patience. */
const STALL_MS = 3000;
const REFUSED = "refused";
/** Handles of descriptors that go around the page cache begin here. */
const DIRECT = 2 ** 30;
/** libuv's pool, and the calls that the real scheme hands to it at a time. */
const POOL_THREADS = 4;
const POOL_CALLS = 8 * POOL_THREADS;

export interface ModelTiming {
  /** Bounds of a request's time at the device, evenly distributed. */
  readonly deviceMs: readonly [least: number, most: number];
  /** Longest time that the kernel holds an unregistered request's pages after its completion. Really: up to 9.4 ms. */
  readonly releaseMs: number;
  /**
   * Time from the last use of a dropped registration to its tag (none since Linux 6.13, a second on 6.1), and the use
   * that counts.
   */
  readonly tagMs: number;
  readonly tags: TagWay;
  /** From a completion to the wake of a loop that sleeps. */
  readonly wakeMs: number;
}

export interface ModelSchemeOptions {
  readonly name: SchemeName;
  readonly depth: number;
  /** 0: nothing can be registered. */
  readonly bufferSlots: number;
  /** First of the machine's buffer slots that are this ring's. */
  readonly firstSlot: number;
  /** User who is charged for registrations, and a function to call at the close. */
  readonly user?: number;
  readonly closed?: () => void;
  readonly timing: ModelTiming;
  readonly faults: ModelFaults;
  readonly flusher: Flusher;
  readonly flags?: RequestFlags;
  readonly woken: () => void;
  readonly descriptorOf: (fd: number) => Descriptor | undefined;
}

type FallbackCall = NonNullable<Scheme["prepareFallback"]>;

interface Prepared {
  readonly slot: number;
  readonly write: boolean;
  readonly file: number;
  readonly location: BufferLocation;
  readonly position: number;
  readonly bufferSlot: number;
  readonly how: number;
  /** In a way that isn't refused. */
  readonly fallback: boolean;
}

export class ModelScheme implements Scheme, Registrations {
  readonly name: SchemeName;
  readonly depth: number;
  readonly ahead: number;
  readonly slots: number;
  readonly registrations: Registrations | null;
  readonly comparesSegments = true;
  readonly userChanged = false;
  readonly #machine: Machine;
  readonly #options: ModelSchemeOptions;
  #prepared: Prepared[] = [];
  /** Completions: of a request, with its result or as refused; of a buffer slot's tag, with null. */
  readonly #completions: { slot: number; result: number | typeof REFUSED | null }[] = [];
  readonly #tags: Tags;
  /** Requests that have completed, and whose pages the kernel holds on to. */
  #held = 0;
  #armed = false;

  constructor(machine: Machine, options: ModelSchemeOptions) {
    this.#machine = machine;
    this.#options = options;
    this.name = options.name;
    this.depth = options.name === "direct" ? Math.min(options.depth, POOL_THREADS) : options.depth;
    this.ahead = options.name === "direct" ? Math.min(options.depth, POOL_CALLS) - this.depth : 0;
    this.slots = options.bufferSlots;
    this.registrations = options.name === "io_uring" && options.bufferSlots > 0 ? this : null;
    const { tags, tagMs } = options.timing;
    this.#tags = new Tags(machine, tags, tagMs, (slot) => this.#end(slot - options.firstSlot, null));
  }

  attachFile(fd: number): number {
    return DIRECT + fd;
  }

  detachFile(): void {}

  prepare(
    slot: number,
    direction: Direction,
    file: number,
    location: BufferLocation,
    position: number,
    bufferSlot: number,
    how: number,
    fallback = false,
  ): void {
    this.#prepared.push({ slot, write: direction === WRITE, file, location, position, bufferSlot, how, fallback });
  }

  prepareFallback(...[slot, direction, file, location, position, how]: Parameters<FallbackCall>): void {
    this.prepare(slot, direction, file, location, position, -1, how, true);
  }

  /** File I/O can't be ended early. */
  cancel(): void {}

  enter(): number {
    const prepared = this.#prepared;
    this.#prepared = [];
    for (const request of prepared) this.#begin(request);
    return 0;
  }

  #begin(request: Prepared): void {
    const { refuses } = this.#options.faults;
    if (refuses > 0 && !request.fallback && this.#machine.random.stream("refused").chance(refuses)) {
      this.#end(request.slot, REFUSED);
      return;
    }
    const direct = request.file >= DIRECT;
    const opened = this.#options.descriptorOf(direct ? request.file - DIRECT : request.file);
    const allowed = request.write ? opened?.writable : opened?.readable;
    const refused = this.#options.flags?.take(request.how, request.location.bytes, request.position) ?? 0;
    if (opened === undefined || allowed !== true || refused < 0) this.#end(request.slot, refused || -EBADF);
    else if (direct) this.#beginDirect(request, opened.file!);
    else this.#soon("page cache ms", () => this.#copy(request, opened));
  }

  /** Begins a direct request: its range of the page cache goes to the disk first, and writeback is waited for. */
  #beginDirect(prepared: Prepared, file: ModelFile): void {
    const { slot, write, location, position, bufferSlot } = prepared;
    const machine = this.#machine;
    const bytes = write ? location.bytes : Math.max(0, Math.min(location.bytes, file.bytes - position));
    const pages = Math.ceil(bytes / PAGE_BYTES);
    if (pages === 0) {
      this.#end(slot, 0);
      return;
    }
    const firstPage = machine.pageAt(location.address);
    // Of what a child has too a store makes another page: also where it's read into, that comes first.
    if (write || machine.anyShared(firstPage, pages)) machine.contents.notice(firstPage, pages);
    const first = file.inodePageAt(position);
    for (let i = 0; i < pages; i++) machine.contents.noticeFile(first + i);
    const transfer = { write, firstPage, pages, block: inFile(first), bufferSlot: this.#slotOf(bufferSlot) };
    const errno = write ? file.grow(position + bytes) : 0;
    const request = errno < 0 ? errno : machine.disk.submit(transfer);
    if (request === WAIT) {
      this.#options.flusher.begin(first, pages);
      this.#soon("device ms", () => this.#beginDirect(prepared, file));
    } else if (request < 0) this.#end(slot, request);
    else {
      if (bufferSlot >= 0) this.#tags.begun(request);
      this.#reach(request, slot, bytes);
    }
  }

  /** The device gets to it. */
  #reach(request: number, slot: number, bytes: number): void {
    const { clock, random } = this.#machine;
    const { stalls } = this.#options.faults;
    if (stalls > 0 && random.stream("device stands still").chance(stalls))
      clock.after(random.stream("stall ms").upTo(STALL_MS), () => this.#serve(request, slot, bytes));
    else this.#soon("device ms", () => this.#serve(request, slot, bytes));
  }

  #slotOf(bufferSlot: number): number {
    return bufferSlot < 0 ? -1 : this.#options.firstSlot + bufferSlot;
  }

  #soon(name: string, run: () => void): void {
    const [least, most] = this.#options.timing.deviceMs;
    this.#machine.clock.after(least + this.#machine.random.stream(name).upTo(most - least), run);
  }

  /** Mostly in one go; sometimes a page now and the next ones later. */
  #serve(request: number, slot: number, bytes: number): void {
    const machine = this.#machine;
    const firstPage = machine.disk.request(request, REQUEST_FIRST_PAGE);
    const pages = machine.disk.request(request, REQUEST_PAGES);
    const write = machine.disk.request(request, REQUEST_WRITE) === 1;
    const { fails, short, late } = this.#options.faults;
    if (fails > 0 && machine.random.stream("failures").chance(fails)) {
      this.#complete(request, slot, -machine.random.pick("failure", FAILURES));
      return;
    }
    if (write) machine.contents.notice(firstPage, pages);
    for (let last = false; !last; ) {
      const i = machine.disk.request(request, REQUEST_SERVED);
      if (machine.disk.failsChecksum(request)) {
        this.#complete(request, slot, i === 0 ? -EIO : i * PAGE_BYTES);
        return;
      }
      last = machine.disk.serve(request);
      // Where the page is somewhere else by now, the program sees nothing of it.
      if (!write && machine.tables.frameOf(firstPage + i) === machine.disk.requestFrame(request, i))
        machine.contents.overwrite(firstPage + i);
      if (!last && short > 0 && machine.random.stream("short transfer").chance(short)) {
        this.#complete(request, slot, (i + 1) * PAGE_BYTES);
        return;
      }
      if (!last && machine.random.stream("device pauses").chance(1 / 16)) {
        this.#soon("device goes on ms", () => this.#serve(request, slot, bytes));
        return;
      }
    }
    if (late > 0 && machine.random.stream("late").chance(late))
      this.#soon("late ms", () => this.#complete(request, slot, bytes));
    else this.#complete(request, slot, bytes);
  }

  #complete(request: number, slot: number, result: number): void {
    const machine = this.#machine;
    const inodePages = machine.disk.inodePagesOf(request);
    for (const inodePage of inodePages) machine.contents.noticeFile(inodePage);
    machine.disk.complete(request);
    for (const inodePage of inodePages) machine.contents.showFile(inodePage);
    this.#end(slot, result);
    // What isn't registered is held for a moment more.
    const registered = this.registrations !== null && machine.disk.isRegistered(request);
    const holds = !registered && machine.random.stream("pages are let go late").chance(1 / 8);
    const { releaseMs } = this.#options.timing;
    // So many at a time as leave room for others.
    if (!holds || this.#held >= machine.size.requests / 2) {
      this.#let(request);
      return;
    }
    this.#held++;
    machine.clock.after(machine.random.stream("release ms").upTo(releaseMs), () => {
      this.#held--;
      this.#let(request);
    });
  }

  #let(request: number): void {
    this.#tags.ended(request, this.#machine.disk.release(request));
  }

  /**
   * Through the page cache, or to and from memory by its address: the processor copies, and faults as a program's own
   * access would.
   */
  #copy(request: Prepared, opened: Descriptor): void {
    const { slot, write, location, position } = request;
    const { buffer, bytes } = location;
    const { file, append } = opened;
    let result = this.#faultIn(location, !write);
    if (result === 0 && file === null) result = this.#copyMemory(write, location, position);
    else if (result === 0 && file !== null) {
      const view = new Uint8Array(buffer.buffer, buffer.byteOffset, bytes);
      if (write) result = file.write(append || position < 0 ? file.bytes : position, view) || bytes;
      else {
        const found = file.read(position, bytes);
        view.set(found);
        result = found.length === 0 && position < file.bytes ? -EIO : found.length;
      }
    }
    if (result === WAIT) this.#soon("page cache ms", () => this.#copy(request, opened));
    else this.#end(slot, result);
  }

  #faultIn({ address, bytes }: BufferLocation, write: boolean): number {
    const machine = this.#machine;
    for (let page = machine.pageAt(address); page <= machine.pageAt(address + bytes - 1); page++) {
      const errno = machine.memory.fault(page, write ? "store" : "load");
      if (errno < 0) return errno;
    }
    return 0;
  }

  /** /proc/self/mem: to the memory of a request, or from it, at an address. */
  #copyMemory(write: boolean, { buffer, address, bytes }: BufferLocation, other: number): number {
    const machine = this.#machine;
    const [from, to] = write ? [address, other] : [other, address];
    const there = machine.contents.memoryAt(machine.pageAt(other), other % PAGE_BYTES, bytes);
    const pages = Math.ceil(((to % PAGE_BYTES) + bytes) / PAGE_BYTES);
    if (there !== undefined) {
      const here = new Uint8Array(buffer.buffer, buffer.byteOffset, bytes);
      if (write) there.set(here);
      else here.set(there);
      machine.contents.notice(machine.pageAt(to), pages);
    } else {
      // Where there are no bytes there are whole pages only.
      for (let i = 0; i < pages; i++)
        machine.memory.store(machine.pageAt(to) + i, machine.memory.peek(machine.pageAt(from) + i));
    }
    return bytes;
  }

  #end(slot: number, result: number | typeof REFUSED | null): void {
    this.#completions.push({ slot, result });
    if (!this.#armed) return;
    this.#armed = false;
    this.#machine.clock.after(this.#options.timing.wakeMs, this.#options.woken);
  }

  reap(sink: CompletionSink, limit: number): number {
    const ended = this.#completions.splice(0, limit);
    for (const { slot, result } of ended) {
      if (result === null) sink.released(slot);
      else if (result === REFUSED) sink.refused(slot);
      else sink.completed(slot, result);
    }
    return ended.length;
  }

  arm(): boolean {
    if (this.#completions.length > 0) return false;
    this.#armed = true;
    return true;
  }

  keepAlive(): void {}

  close(): void {
    invariant("STATE", this.#prepared.length === 0, "a ring is closed before its requests were submitted");
    this.#options.closed?.();
  }

  take(slot: number, address: number, bytes: number): number {
    const { noLease } = this.#options.faults;
    if (noLease > 0 && this.#machine.random.stream("no lease").chance(noLease)) return -ENOMEM;
    const firstPage = this.#machine.pageAt(address);
    return this.#machine.disk.register(this.#slotOf(slot), firstPage, bytes / PAGE_BYTES, this.#options.user);
  }

  drop(slot: number): number {
    // Emptying an empty slot has no effect and posts no tag; it happens when a monitor has died during a drop.
    if (this.#machine.disk.slot(this.#slotOf(slot), SLOT_STATE) === SLOT_LIVE) this.#tags.drop(this.#slotOf(slot));
    return 0;
  }

  populate(address: number, bytes: number): number {
    const first = this.#machine.pageAt(address);
    for (let page = first; page < first + bytes / PAGE_BYTES; page++) {
      const errno = this.#machine.memory.populateWrite(page);
      if (errno < 0) return errno;
    }
    return 0;
  }

  /** Nothing: what leases cost isn't modelled here, and the more are taken the more can go wrong. */
  costPages(): number {
    return 0;
  }
}
