/** The engine: it connects one scheme with the protocol, arenas and files, and decides when each of them runs. */

import { CallsInFlight } from "../files/calls-in-flight.js";
import { File } from "../files/file.js";
import type { OpenFile } from "../files/file-host.js";
import { whyNotOpened } from "../files/file-options.js";
import { Mounts } from "../files/mount-options.js";
import { type RequestOptions, usualHowOf } from "../files/request-options.js";
import { StreamCallLimits } from "../files/stream-call-limits.js";
import { WriteOrders } from "../files/write-ordering.js";
import type { ArenaToken } from "../ports/channel.js";
import type { Host, StartedScheme } from "../ports/host.js";
import type { Follower } from "../ports/monitor.js";
import type { FilePath } from "../ports/opened-file.js";
import { checkBoolean, checkOptions } from "../ports/option-checks.js";
import type { ArenaOptions, EngineSettings, FileArenaOptions, PinMode } from "../ports/options.js";
import type { EngineStats, Released } from "../ports/stats.js";
import { invariant } from "../protocol/assert.js";
import { argumentError, PinlessError, unsupported } from "../protocol/errors.js";
import { PINNED_PAGES } from "../protocol/lease-table.js";
import { Protocol } from "../protocol/protocol.js";
import type { MmuNotifier } from "../protocol/public-notifier.js";
import { PAGE_BYTES } from "../protocol/ranges/pages.js";
import type { Scheme, SchemeName } from "../protocol/scheme.js";
import type { Copier, Segment } from "../protocol/segment.js";
import { Arena, type ArenaHost } from "./arena.js";
import { ANONYMOUS, type ArenaKind, MAPPED, PIPES, STAGING } from "./arena-kinds.js";
import { AttachedArena } from "./attached-arena.js";
import { memoryOf } from "./attaching.js";
import { BlockMemory } from "./block-memory.js";
import { ClosingSteps } from "./closing.js";
import { type Backing, openBacking } from "./file-backing.js";
import { LeaseTimer, openPressure } from "./lease-timer.js";
import { LifetimeRegistrations, lifetimeSlot } from "./lifetime-registrations.js";
import { MonitorLoss, note } from "./monitor-loss.js";
import { SegmentRegistry } from "./segment-registry.js";
import { SelfMemory } from "./self-memory.js";
import { Staging } from "./staging.js";
import { Statistics } from "./statistics.js";
import { SubmissionQueue } from "./submission-queue.js";

/**
 * Number of files that aren't closed.
 *
 * @internal
 */
let openFilesOf: (engine: PortableEngine) => number;

/** @internal */
export { openFilesOf };

/** Engine on any kernel, which is passed to it as `host`. */
export class PortableEngine {
  static {
    openFilesOf = (engine) => engine.#files.size;
  }

  /** Scheme in use. */
  readonly scheme: SchemeName;
  /** Pin mode in use. If it isn't the one that was asked for, `stats().degraded` says why. */
  readonly pin: PinMode;
  /** Maximum number of requests in flight. */
  readonly depth: number;
  /** Notifier for changes to an arena's memory that the program makes by other means than the arena's methods. */
  readonly notifier: MmuNotifier;
  readonly #host: Host;
  readonly #settings: EngineSettings;
  readonly #scheme: Scheme;
  readonly #protocol: Protocol;
  readonly #segments: SegmentRegistry;
  readonly #arenas = new Set<Arena | AttachedArena>();
  readonly #files = new Set<OpenFile>();
  readonly #leaseTimer: LeaseTimer;
  /** Follower of other code's memory calls; null if they aren't followed. */
  readonly #follower: Follower | null;
  readonly #staging = new Staging((bytes) => this.#newArena({ bytes }, STAGING));
  readonly #pipeStaging = new Staging((bytes) => this.#newArena({ bytes, hugePages: false }, PIPES), { grows: true });
  readonly #blocks = new BlockMemory((bytes) => this.#newArena({ bytes }, STAGING));
  readonly #degraded: string[];
  readonly #statistics: Statistics;
  readonly #submissions: SubmissionQueue;
  readonly #callsInFlight = new CallsInFlight();
  readonly #writeOrders = new WriteOrders();
  readonly #mounts = new Mounts();
  readonly #streamCalls: StreamCallLimits;
  #state: "open" | "closing" | "closed" = "open";
  #closing: Promise<void> | null = null;
  readonly #selfMemory: SelfMemory;

  /** @internal */
  constructor(host: Host, settings: EngineSettings, started: StartedScheme) {
    this.#host = host;
    this.#settings = settings;
    this.#scheme = started.scheme;
    this.#degraded = started.degraded;
    if (started.pin === "lease") this.#degraded.push(...settings.remarks);
    this.#statistics = new Statistics(host.waitHistogram(), this.#degraded);
    this.scheme = started.scheme.name;
    this.pin = started.pin;
    this.depth = started.scheme.depth;
    const { registrations } = started.scheme;
    const isLeased = this.pin === "lease" && registrations !== null;
    this.#protocol = new Protocol({
      scheme: this.#scheme,
      loop: host.loop,
      chunkBytes: settings.chunkBytes,
      leases: isLeased
        ? {
            ...settings,
            slots: registrations.slots,
            pressure: openPressure(host, settings, this.#degraded),
            firstTaken: (nowMs) => this.#leaseTimer.start(nowMs),
          }
        : null,
      ...(this.pin === "lifetime"
        ? { registered: (location) => lifetimeSlot(this.#segments.at(location.table), location) }
        : {}),
      // Without userfaultfd there is no monitor, which alone lowers the reading word.
      ...(settings.userfaultfd && host.reading !== undefined ? { reading: host.reading } : {}),
      counted: (waitedMs) => this.#statistics.countInvalidation("CLEAR", waitedMs),
      unmapped: (gone) => this.#segments.withdraw(gone),
      observer: started.observer ?? null,
    });
    const { notifier, dispatcher, foreign } = this.#protocol;
    this.notifier = notifier;
    const forLife =
      this.pin === "lifetime" ? new LifetimeRegistrations(registrations, host.describe, this.#degraded) : null;
    this.#segments = new SegmentRegistry(this.#protocol, this.#callsInFlight, forLife);
    this.#submissions = new SubmissionQueue(dispatcher, host.loop);
    const assertOpen = (): void => this.#assertOpen();
    this.#selfMemory = new SelfMemory({ host, protocol: this.#protocol, submissions: this.#submissions, assertOpen });
    started.onWoken(dispatcher.turns.turnOfLoop);
    this.#streamCalls = new StreamCallLimits(dispatcher.requests.capacity);
    this.#leaseTimer = new LeaseTimer(this.#protocol, settings, host.loop, this.#degraded, (ended) =>
      started.openWatchdog(ended),
    );
    this.#follower = settings.userfaultfd
      ? host.openFollower(foreign, new MonitorLoss({ calls: foreign, loop: host.loop, degraded: this.#degraded }).ended)
      : null;
  }

  /**
   * Creates an arena: memory for I/O, populated, and in huge pages if possible.
   *
   * With `file` it's a shared mapping of a regular file, as by mmap(2). Reads into it are copied (`stats().bounced`),
   * because no device may write into such a mapping; writes from it are direct, without a lease. As with any mapping, a
   * load or store by JavaScript kills the process with SIGBUS if the file was truncated there, or its filesystem has no
   * space left; this can't be caught. I/O fails with EFAULT there.
   *
   * @param options - Size, or a file
   * @throws ENOMEM, which names the limit (the machine's, or a memory cgroup's); `ERR_OUT_OF_RANGE` if the size isn't a
   *   positive whole number; `ERR_PINLESS_OPTION` for unknown options; `ERR_PINLESS_CLOSED`. For a file also the errors
   *   of node:fs if it can't be opened, and `ERR_PINLESS_UNSUPPORTED` if it isn't a regular file, or if /proc/self/mem,
   *   which the copies need, can't be opened
   * @example
   * ```ts
   * const memory = await engine.arena({ bytes: 64 << 20 });
   * const mapped = await engine.arena({ file: "cache.bin", bytes: 1 << 20 });
   * ```
   */
  async arena(options: ArenaOptions | FileArenaOptions): Promise<Arena> {
    this.#assertOpen();
    if (isOfFile(options)) {
      checkOptions("engine.arena of a file", options, ["file", "bytes", "inherit"]);
      checkBoolean("inherit", options.inherit);
      return this.#fileArena(options);
    }
    checkOptions("engine.arena", options ?? {}, ["bytes", "hugePages", "inherit", "shared", "file"]);
    checkBoolean("hugePages", options?.hugePages);
    checkBoolean("inherit", options?.inherit);
    checkBoolean("shared", options?.shared);
    if (!Number.isSafeInteger(options?.bytes) || options.bytes < 1)
      throw argumentError("ERR_OUT_OF_RANGE", `bytes must be a positive integer. Received ${String(options?.bytes)}`);
    return this.#newArena(options, ANONYMOUS);
  }

  /**
   * Attaches a shared arena of an engine of another thread: the same memory, for this engine's I/O.
   *
   * @param token - What that thread's `arena.share()` returned, transferred to this thread. Each is for one engine
   * @throws `ERR_PINLESS_TOKEN` if the token was used, or this engine has the memory already; `ERR_PINLESS_CLOSED` if
   *   the arena was closed, or its thread has ended; `ERR_INVALID_ARG_TYPE` for anything else, which is all that can
   *   reach another process
   */
  async attach(token: ArenaToken): Promise<AttachedArena> {
    this.#assertOpen();
    const { channel, memory } = memoryOf(token, this.#host.channels, (range) => this.#segments.meet(range));
    const arena = new AttachedArena(
      { ...this.#arenaHost(ANONYMOUS), closed: (it) => this.#arenas.delete(it) },
      channel,
      memory,
    );
    this.#arenas.add(arena);
    await arena.attach();
    return arena;
  }

  async #fileArena(options: FileArenaOptions): Promise<Arena> {
    const copier = await this.#selfMemory.get();
    const backing = await openBacking(options, this.#host);
    if (this.#state !== "open") {
      await backing.close();
      throw closedError();
    }
    return this.#newArena({ ...options, bytes: backing.bytes }, MAPPED, backing, copier);
  }

  async #newArena(
    options: ArenaOptions,
    kind: ArenaKind,
    backing: Backing | null = null,
    copier: Copier | null = null,
  ): Promise<Arena> {
    if (kind.followed) this.#follower?.prepare?.();
    const arena = new Arena({ ...this.#arenaHost(kind), copier }, options, backing);
    this.#arenas.add(arena);
    try {
      await arena.grow(options.bytes);
    } catch (error) {
      // The caller gets the first error; one of closing would hide it.
      await arena.close().catch(() => {});
      throw error;
    }
    return arena;
  }

  #arenaHost({ leased, followed }: ArenaKind): ArenaHost {
    const { memory, ownMemory = memory, channels, reading } = this.#host;
    return {
      memory: followed ? memory : ownMemory,
      channels,
      reading: this.#settings.userfaultfd ? (reading ?? null) : null,
      loop: this.#host.loop,
      protocol: this.#protocol,
      copier: null,
      callsInFlight: this.#callsInFlight,
      chunkBytes: this.#settings.chunkBytes,
      largestChunkBytes: leased && this.pin === "lease" ? this.#settings.largestChunkBytes : this.#settings.chunkBytes,
      describe: this.#host.describe,
      adopt: (segment) => this.#segments.add(segment, leased),
      abandon: (segment) => this.#segments.remove(segment),
      follow: async (segment) => {
        if (followed) await this.#follow(segment);
      },
      unfollow: (segment) => this.#unfollow(segment),
      counted: (event, waitedMs) => this.#statistics.countInvalidation(event, waitedMs),
      closed: (arena) => this.#arenas.delete(arena),
    };
  }

  /**
   * Opens a file with the arguments and errors of node:fs/promises. As there, opening a pipe waits for its other end on
   * a thread of libuv's pool, unless it's opened for reading and writing. A dropped File is closed with a warning.
   *
   * @param path - A path; or an object with an open descriptor as `fd`, which is the only way to a socket. The file
   *   gets a duplicate of the descriptor, so the caller and the file each close their own
   * @param flags - As `open` of node:fs. Default `"r"`
   * @param mode - Permissions of a file that is created. Default 0o666
   * @param options - Options of all of the file's requests that name none, each as of `read` and `write`
   * @throws As node:fs/promises; `ERR_PINLESS_CLOSED`; `ERR_PINLESS_UNSUPPORTED` for a socket without io_uring, and
   *   `atomic` without atomic writes; `ERR_PINLESS_OPTION`
   * @example
   * ```ts
   * const file = await engine.openFile("data.bin", "r");
   * ```
   */
  async openFile(path: FilePath, flags?: string | number, mode?: number, options?: RequestOptions): Promise<File> {
    this.#assertOpen();
    const usual = usualHowOf(options);
    const opened = await this.#host.openFile(path, flags, mode);
    const refused = whyNotOpened(opened, this.#scheme, usual);
    if (this.#state !== "open" || refused !== undefined) {
      await opened.closeDirect();
      await opened.handle.close();
      throw refused === undefined ? closedError() : unsupported(refused);
    }
    return new File(
      {
        protocol: this.#protocol,
        scheme: this.#scheme,
        staging: opened.traits.waits ? this.#pipeStaging : this.#staging,
        spareStaging: this.#pipeStaging,
        blocks: this.#blocks,
        writeOrders: this.#writeOrders,
        mounts: this.#mounts,
        streamCalls: this.#streamCalls,
        describe: this.#host.describe,
        memory: this.#host.memory,
        segmentOf: (buffer) => this.#segments.of(buffer),
        submissions: this.#submissions,
        counted: (what) => this.#statistics.countTransfer(what),
        degraded: (why) => note(this.#degraded, why),
        callsInFlight: this.#callsInFlight,
        loop: this.#host.loop,
        files: this.#files,
      },
      opened,
      usual,
    );
  }

  /** Resolves once `submit` has room again after it answered `"busy"`. */
  drained(): Promise<void> {
    return this.#submissions.drained();
  }

  /**
   * Drops all leases. I/O goes on, and takes new leases when they pay. With `pin: "lifetime"` it ends the registrations
   * for good: I/O goes per-io from then on.
   *
   * @returns Number of leases and of bytes that they pinned, once the kernel has released all their pages
   */
  async releasePins(): Promise<Released> {
    const { leases, dispatcher } = this.#protocol;
    if (leases === null) return this.#segments.unregisterAll();
    const released = { leases: leases.held, bytes: leases.table.header(PINNED_PAGES) * PAGE_BYTES };
    leases.dropAll();
    // Waits only for leases that are held now, since under load new ones are taken meanwhile.
    for (let left = leases.beingDropped(); left.length > 0; left = left.filter((slot) => leases.isBeingDropped(slot))) {
      dispatcher.nudge();
      await new Promise<void>((resolve) => this.#host.loop.soon(resolve));
    }
    return released;
  }

  /** Returns the engine's current figures. */
  stats(): EngineStats {
    return this.#statistics.report(this.#protocol, this.#scheme, this.pin, this.#host.describe);
  }

  /**
   * Waits for all I/O in flight, closes files and arenas, and releases all pinned pages. Reads that may never end
   * (pipes) are cancelled. A second call returns the same promise.
   *
   * @throws The error, or an AggregateError of several, if something couldn't be closed; all the rest is closed
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#state = "closing";
    const closing = new ClosingSteps();
    await closing.each(this.#files, (held) => held.end());
    await closing.each(this.#arenas, (arena) => arena.close());
    await closing.step(() => this.#selfMemory.close());
    await closing.step(() => this.releasePins());
    await closing.step(() =>
      invariant("EXACTLY_ONCE", this.#protocol.dispatcher.active === 0, "requests were left behind by close()"),
    );
    await closing.step(() => this.#leaseTimer.stop());
    await closing.step(() => this.#leaseTimer.watchdog?.close());
    await closing.step(() => this.#follower?.close());
    await closing.step(() => this.#scheme.close());
    // Node closes sockets, and with them a ring's memory, only in a turn of the loop.
    await new Promise<void>((resolve) => this.#host.loop.soon(resolve));
    this.#state = "closed";
    closing.end("the engine");
  }

  /** Closes the engine at the end of an `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #follow({ table }: Segment): Promise<void> {
    if (this.#follower === null) return;
    this.#protocol.foreign.follow(table);
    const unseen = await this.#follower.follow(table, this.#leaseTimer.watchdog);
    if (unseen !== "") note(this.#degraded, unseen);
  }

  async #unfollow({ table }: Segment): Promise<void> {
    try {
      await this.#follower?.unfollow(table);
    } finally {
      this.#protocol.foreign.unfollow(table);
    }
  }

  #assertOpen(): void {
    if (this.#state !== "open") throw closedError();
  }
}

function closedError(): PinlessError {
  return new PinlessError("ERR_PINLESS_CLOSED", "the engine was closed: open another with Engine.open()");
}

function isOfFile(options: ArenaOptions | FileArenaOptions | undefined): options is FileArenaOptions {
  return (options as FileArenaOptions | undefined)?.file !== undefined;
}
