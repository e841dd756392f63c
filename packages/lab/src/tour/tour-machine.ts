/**
 * A machine to look at: the engine that ships on the model, in one of three designs, with a program that reads a file,
 * and operations of the kernel on its memory. The same seed and the same calls give the same machine.
 *
 * A quarter of the memory is the program's buffers, a third is other programs', and all of it is scattered, as after
 * days of work.
 */

import { invariant, MMAN, type OperationReport, PAGE_BYTES, type PortableEngine, violated } from "pinless/portable";
import { exit } from "../model/fork.js";
import type { Machine } from "../model/machine.js";
import { compact } from "../model/page-placement.js";
import { WAIT } from "../model/page-tables.js";
import { HUGE, HUGE_PAGES, IN_FLIGHT, IN_USE, type KernelDesign } from "../model/tables.js";
import { fillFile } from "../simulate/requests.js";
import { SimulatedWorld } from "../simulate/simulated-world.js";
import { countStates, type FrameState, frameStates, freeAreas } from "./frame-states.js";
import { REQUEST_PAGES, ReadLoad, type TourArena } from "./read-load.js";
import type { TourDesign } from "./tour-designs.js";

const KERNELS: Record<TourDesign, { readonly kernel: KernelDesign; readonly pin: "lease" | "lifetime" }> = {
  pins: { kernel: "gup", pin: "lifetime" },
  proposal: { kernel: "notifier", pin: "lifetime" },
  leases: { kernel: "gup", pin: "lease" },
};

const BUFFER_SHARE = 1 / 4;
const OTHERS_SHARE = 5 / 16;
const READS_IN_FLIGHT = 16;
/** Turns that promises get after a step of the machine. */
const PROMISE_TURNS = 4;
/** Steps without an event after which waiting is a mistake. */
const IDLE_STEPS = 100;
/** Time after which a call that sleeps looks again, and the life of a child. */
const LOOK_MS = 0.2;
const CHILD_MS = 20;
/** Part of the buffers that other code discards. */
const DISCARD_SHARE = 1 / 4;

export interface TourOptions {
  readonly design: TourDesign;
  readonly seed: number;
  /** Frames of the machine: a multiple of 16,384, so that the engine sees that the kernel compacts. */
  readonly frames: number;
}

/** One round of compaction: pages moved, and pages that stayed where they are, by what held them. */
export interface CompactionRound {
  readonly moved: number;
  readonly refused: { readonly pinned: number; readonly leased: number; readonly inFlight: number };
  /** Areas of 2 MiB that are free afterwards. */
  readonly freeHugePages: number;
}

export interface TourFigures {
  readonly nowMs: number;
  readonly frames: Readonly<Record<FrameState, number>>;
  readonly freeHugePages: number;
  readonly reads: { readonly inFlight: number; readonly held: number; readonly done: number; readonly lost: number };
  readonly leases: { readonly live: number; readonly taken: number; readonly dropped: number };
  /** Times that the engine gave its leases up because the kernel compacted memory. */
  readonly givenUp: number;
}

export class TourMachine {
  readonly design: TourDesign;
  readonly #world: SimulatedWorld;
  readonly #machine: Machine;
  /** Pages that the kernel's compaction has scanned so far, which the engine looks at. */
  readonly #scanned: { pages: number };
  readonly #moved: Uint8Array;
  readonly #states: Uint8Array;
  #engine!: PortableEngine;
  #arena!: TourArena;
  #load: ReadLoad | null = null;
  #error: unknown = null;

  private constructor({ design, seed, frames }: TourOptions) {
    this.design = design;
    const scanned = { pages: 0 };
    const arenaPages = frames * BUFFER_SHARE;
    const { kernel, pin } = KERNELS[design];
    this.#scanned = scanned;
    this.#moved = new Uint8Array(frames);
    this.#states = new Uint8Array(frames);
    this.#world = new SimulatedWorld({
      seed,
      design: kernel,
      size: {
        frames,
        pages: frames,
        processes: 2,
        swapSlots: arenaPages,
        blocks: 4096,
        bufferSlots: 256,
        bufferPages: pin === "lifetime" ? arenaPages : HUGE_PAGES,
        requests: 256,
        requestPages: REQUEST_PAGES,
      },
      timing: { deviceMs: [0.5, 3], releaseMs: 0.05, tagMs: 0, tags: "own", wakeMs: 0.01 },
      pressure: {
        name: "the model's compaction",
        read: () => ({ stallsUs: [], limitHits: 0, oomKills: 0, failures: 0 }),
        scannedPages: () => scanned.pages,
        cacheShare: () => 1,
      },
      bytes: false,
      later: () => {},
      uncaught: (error) => {
        this.#error ??= error;
      },
    });
    this.#machine = this.#world.machine;
  }

  static async open(options: TourOptions): Promise<TourMachine> {
    const tour = new TourMachine(options);
    await tour.#start(options.frames);
    return tour;
  }

  async #start(frames: number): Promise<void> {
    const machine = this.#machine;
    this.#scatter();
    const others = machine.newMemory(frames * OTHERS_SHARE * PAGE_BYTES);
    const first = machine.pageAt(machine.mapMemory(others));
    for (let i = 0; i < frames * OTHERS_SHARE; i++) machine.memory.store(first + i, 1);
    this.#engine = this.#world.openEngine({ pin: KERNELS[this.design].pin });
    const modelFile = this.#world.files.create("file");
    fillFile(machine, modelFile);
    const file = await this.#until(this.#engine.openFile("file", "r"));
    const bytes = frames * BUFFER_SHARE * PAGE_BYTES;
    this.#arena = await this.#until(this.#engine.arena({ bytes, hugePages: false, inherit: true }));
    this.#load = new ReadLoad(machine, this.#arena, file, frames * BUFFER_SHARE);
  }

  /** Shuffles the free frames, so that whatever is allocated lies everywhere. */
  #scatter(): void {
    const { frames, random } = this.#machine;
    const draw = random.stream("where memory is");
    const free = frames.framesOf(0);
    for (let i = free.length - 1; i > 0; i--) {
      const other = draw.below(i + 1);
      [free[i], free[other]] = [free[other]!, free[i]!];
    }
    frames.setFree(0, free);
  }

  /** Lets the program read, or stop reading. */
  setReading(reads: boolean): void {
    if (this.#load !== null) this.#load.wanted = reads ? READS_IN_FLIGHT : 0;
  }

  get #nowMs(): number {
    return this.#machine.clock.nowMs;
  }

  /** Lets virtual time pass. */
  async advance(ms: number): Promise<void> {
    await this.#until(new Promise<void>((resolve) => this.#machine.clock.after(ms, () => resolve())));
  }

  /** Runs the machine until a promise of the engine settles. */
  async #until<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    for (let idle = 0; ; ) {
      // What is asked for now reaches the machine before its time goes on.
      this.#load?.fill();
      for (let i = 0; i < PROMISE_TURNS; i++) await null;
      this.#world.runMicrotasks();
      if (settled) return promise;
      idle = this.#machine.clock.step() ? 0 : idle + 1;
      if (this.#error !== null) throw this.#error;
      invariant("BOUNDED_WAIT", idle < IDLE_STEPS, "nothing is to come any more, but a call hasn't ended");
    }
  }

  /**
   * One round of the kernel's compaction over all of the memory, as after `echo 1 > /proc/sys/vm/compact_memory`. It
   * tells no program.
   */
  compact(): CompactionRound {
    const machine = this.#machine;
    const refused = { pinned: 0, leased: 0, inFlight: 0 };
    const before = this.#states.slice();
    this.#moved.fill(0);
    frameStates(machine, false, this.#moved, before);
    const { moved } = compact(machine, 0, Number.POSITIVE_INFINITY, (frame) => {
      if (this.design === "pins") refused.pinned++;
      else if (machine.frames.frame(frame, IN_FLIGHT) > 0) refused.inFlight++;
      else refused.leased++;
    });
    this.#scanned.pages += machine.size.frames;
    for (let frame = 0; frame < before.length; frame++)
      if (before[frame] === 0 && machine.frames.frameIs(frame, IN_USE)) this.#moved[frame] = 1;
    return { moved, refused, freeHugePages: freeAreas(this.states()).length };
  }

  /** The program asks for its buffers to be written to swap. */
  pageOut(): Promise<Pick<OperationReport, "done" | "busy" | "reason">> {
    return this.#until(this.#arena.pageOut());
  }

  /** The program asks for its buffers to become huge pages, each in an area of 2 MiB that is free. */
  async collapse(): Promise<Pick<OperationReport, "done" | "busy" | "reason">> {
    const { view, firstPage } = this.#load!.first;
    const pages = this.#machine.size.frames * BUFFER_SHARE;
    let [done, busy, reason]: [number, number, string | undefined] = [0, 0, undefined];
    for (let page = 0; page < pages; page += HUGE_PAGES) {
      const frame = this.#machine.tables.frameOf(firstPage + page);
      if (frame >= 0 && this.#machine.frames.frameIs(frame, HUGE)) continue;
      if (!this.#allocateFromFreeArea()) {
        busy += HUGE_PAGES;
        reason ??= "no area of 2 MiB is free: compact first";
        continue;
      }
      const piece = new Uint8Array(view.buffer, view.byteOffset + page * PAGE_BYTES, HUGE_PAGES * PAGE_BYTES);
      const report = await this.#until(this.#arena.collapse(piece));
      done += report.done;
      busy += report.busy;
      reason ??= report.reason;
    }
    return { done, busy, ...(reason === undefined ? {} : { reason }) };
  }

  /** Has the next frames come from an area of 2 MiB that is free: the model's huge pages needn't be adjacent. */
  #allocateFromFreeArea(): boolean {
    const [area] = freeAreas(this.states());
    if (area === undefined) return false;
    const inArea = (frame: number): boolean => frame >= area && frame < area + HUGE_PAGES;
    const free = this.#machine.frames.freeOf(0);
    this.#machine.frames.setFree(0, [...free.filter(inArea), ...free.filter((frame) => !inArea(frame))]);
    return true;
  }

  /** Forks the program, and has its child exit soon. Returns the pages that had to be copied at once. */
  async fork(): Promise<number> {
    const copied = await this.#awake(() => this.#machine.fork(1));
    if (copied < 0) violated("STATE", `fork failed with ${copied}`);
    await this.advance(CHILD_MS);
    await this.#awake(() => exit(this.#machine, 1));
    return copied;
  }

  /** Other code of the program discards a part of its buffers, without a word to the engine. Returns the pages. */
  async discardByOthers(): Promise<number> {
    const machine = this.#machine;
    const load = this.#load!;
    const { firstPage } = load.first;
    const pages = machine.size.frames * BUFFER_SHARE * DISCARD_SHARE;
    load.discards++;
    if (KERNELS[this.design].kernel === "notifier")
      for (let page = firstPage; page < firstPage + pages; page++)
        await this.#awake(() => machine.memory.discard(page));
    else {
      const range = { start: machine.addressOf(firstPage), end: machine.addressOf(firstPage + pages) };
      const { calls, threads } = this.#world;
      const thread = threads.start();
      await this.#until(new Promise<void>((done) => calls.discard(thread, range, MMAN.MADV_DONTNEED, done)));
    }
    load.discards++;
    return pages;
  }

  /** Repeats a call of the kernel for as long as it has to sleep. */
  async #awake(call: () => number): Promise<number> {
    for (let answer = call(); ; answer = call()) {
      this.#load!.keptOut = answer === WAIT;
      if (answer !== WAIT) return answer;
      await this.advance(LOOK_MS);
    }
  }

  /** The state of each frame now, which the next call overwrites. */
  states(): Uint8Array {
    frameStates(this.#machine, this.design === "leases", this.#moved, this.#states);
    return this.#states;
  }

  figures(): TourFigures {
    const { held, leases, pressure } = this.#engine.stats();
    const load = this.#load;
    const states = this.states();
    return {
      nowMs: this.#nowMs,
      frames: countStates(states),
      freeHugePages: freeAreas(states).length,
      reads: { inFlight: load?.inFlight ?? 0, held, done: load?.completed ?? 0, lost: load?.lost ?? 0 },
      leases: { live: leases.live, taken: leases.taken, dropped: leases.dropped },
      givenUp: pressure.givenUp,
    };
  }
}
