/** pinless: direct I/O whose buffers stay ordinary memory. This module runs the engine on the real kernel. */

import { getSystemErrorMap } from "node:util";
import { addEngine, removeEngine } from "./control/server.js";
import { DefaultEngine } from "./engine/default-engine.js";
import { PortableEngine } from "./engine/engine.js";
import { startFirst } from "./engine/scheme-choice.js";
import { explainMemoryLimit } from "./events/memory-limits.js";
import { openPressure } from "./events/memory-pressure.js";
import { monitorEnded, monitorStarted, openFollower, openWatchdog, ourTids, reading } from "./events/monitor-client.js";
import type { File } from "./files/file.js";
import type { RequestOptions } from "./files/request-options.js";
import { channels } from "./linux/channels.js";
import { loadLibc } from "./linux/libc-bindings.js";
import { loop } from "./linux/loop.js";
import { memoryBytes } from "./linux/memory-limit.js";
import { openFile } from "./linux/open-file.js";
import { memlockBytes } from "./linux/probe.js";
import { assertRuntime } from "./linux/runtime.js";
import { assertUnbundled } from "./linux/start-thread.js";
import { waitHistogram } from "./linux/wait-histogram.js";
import { atOnce } from "./memory/at-once.js";
import { MemoryThreads } from "./memory/thread-host.js";
import type { Host, StartedScheme } from "./ports/host.js";
import type { EngineOptions, EngineSettings } from "./ports/options.js";
import { settingsOf } from "./ports/options.js";
import { PinlessError } from "./protocol/errors.js";
import { startScheme } from "./schemes/start.js";
import { type EngineTrace, openTrace } from "./trace/engine-trace.js";

export type { Arena } from "./engine/arena.js";
export type { AttachedArena } from "./engine/attached-arena.js";
export type { ReadOptions, ReadOptionsWithBuffer, WriteOptions } from "./files/arguments.js";
export type { BlockOptions, BlocksOptions, ReadAheadOptions, WriteBehindOptions } from "./files/block-options.js";
export type { File } from "./files/file.js";
export type { FileLock, LockOptions } from "./files/lock-options.js";
export type {
  CopyOptions,
  DataRange,
  DataRangesOptions,
  FileRange,
  FileWrite,
  ReadManyOptions,
  SpaceOptions,
  WriteManyOptions,
} from "./files/many-arguments.js";
export type { RangeReads } from "./files/range-reads.js";
export type { FileFeatures, Priority, ReadRequestOptions, RequestOptions } from "./files/request-options.js";
export type { ReadStreamOptions, WriteStreamOptions } from "./files/streams.js";
export type { WebStreamOptions } from "./files/web-stream.js";
export type { ReadFileOptions, WriteFileOptions } from "./files/whole-files.js";
export { type Probe, probe } from "./linux/probe.js";
export type { ArenaToken } from "./ports/channel.js";
export type { AtomicLimits, FilePath } from "./ports/opened-file.js";
export type {
  ArenaOptions,
  EngineOptions,
  EventOptions,
  FileArenaOptions,
  LeaseOptions,
  PinMode,
} from "./ports/options.js";
export type { EngineStats, OperationReport, Released } from "./ports/stats.js";
export type { Done } from "./protocol/acceptance.js";
export { InvariantViolation } from "./protocol/assert.js";
export { ERROR_CODES, PinlessError, type PinlessErrorCode, type SystemError } from "./protocol/errors.js";
export type { MmuEvent } from "./protocol/events.js";
export type { Invalidation, MmuNotifier, Protection, StartOptions } from "./protocol/public-notifier.js";
export type { Range } from "./protocol/ranges/ranges.js";
export type { Operation, SchemeName } from "./protocol/scheme.js";

const memory = new MemoryThreads(ourTids, explainMemoryLimit);

const host: Host = {
  memory,
  ownMemory: atOnce(memory),
  loop,
  memlockBytes,
  openFile,
  openPressure,
  waitHistogram,
  describe: (errno) => getSystemErrorMap().get(errno) ?? [`errno ${-errno}`, "unknown error"],
  openFollower,
  channels,
  reading,
  startScheme: (name, settings, bufferSlots) => startScheme(name, settings, bufferSlots, openWatchdog),
};

/**
 * Direct I/O by one scheme, on arenas whose pages stay movable. Requests complete in any order; a request and a memory
 * operation on the same range take effect one after the other. After `close()`, `arena()` and `openFile()` reject with
 * `ERR_PINLESS_CLOSED`.
 *
 * @example
 * ```ts
 * const engine = await Engine.open();
 * const arena = await engine.arena({ bytes: 64 << 20 });
 * const file = await engine.openFile("data.bin", "r");
 * const { bytesRead } = await file.read(arena.alloc(1 << 20), { position: 0 });
 * await engine.close();
 * ```
 */
export class Engine extends PortableEngine {
  #closed: Promise<void> | null = null;
  #trace: EngineTrace | null = null;

  /**
   * Throws `ERR_PINLESS_UNSUPPORTED`: callers use `Engine.open()`.
   *
   * @hidden
   */
  private constructor(host: Host, settings: EngineSettings, started: StartedScheme) {
    if (started === undefined)
      throw new PinlessError(
        "ERR_PINLESS_UNSUPPORTED",
        "Engine has no public constructor: use await Engine.open(options)",
      );
    super(host, settings, started);
  }

  /**
   * Opens an engine. `engine.scheme` and `engine.pin` are those in use; if they, or other options, differ from those
   * asked for, `engine.stats().degraded` says why.
   *
   * @param options - All of them are optional
   * @throws `ERR_PINLESS_OPTION` for an unknown option, an invalid value, or a trace that can't be written;
   *   `ERR_PINLESS_UNSUPPORTED` if the scheme asked for doesn't work here (the message says what to change)
   * @example
   * ```ts
   * const engine = await Engine.open({ scheme: "io_uring", depth: 64, lease: { idle: 20 } });
   * ```
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    assertRuntime();
    assertUnbundled(["./events/monitor-thread.js", "./memory/memory-thread.js"], import.meta.url);
    opened++;
    let trace: EngineTrace | null = null;
    try {
      await loadLibc();
      const settings = settingsOf(options, memlockBytes(), memoryBytes());
      trace = openTrace(settings);
      const started = startFirst(host, settings);
      const engine = await Engine.#start(settings, trace?.follow(started) ?? started);
      engine.#trace = trace;
      return engine;
    } catch (error) {
      trace?.close();
      await oneLess();
      throw error;
    }
  }

  static async #start(settings: EngineSettings, started: StartedScheme): Promise<Engine> {
    let engine: Engine;
    try {
      engine = new Engine(host, settings, started);
    } catch (error) {
      started.scheme.close();
      throw error;
    }
    try {
      await monitorStarted();
      const unreachable = await addEngine(engine);
      if (unreachable !== null) started.degraded.push(unreachable);
      return engine;
    } catch (error) {
      await engine.#end();
      throw error;
    }
  }

  /**
   * Waits for all I/O in flight, closes files and arenas, and releases all pinned pages. Reads that may never end
   * (pipes) are cancelled. With the last engine the threads of pinless end. A second call returns the same promise.
   *
   * @throws The error, or an AggregateError of several, if something couldn't be closed; the rest is closed all the
   *   same
   */
  override close(): Promise<void> {
    this.#closed ??= this.#end().finally(oneLess);
    return this.#closed;
  }

  async #end(): Promise<void> {
    try {
      await super.close();
    } finally {
      removeEngine(this);
      this.#trace?.close();
    }
  }
}

/** Number of engines of this thread, counted from the start of their opening until they're closed. */
let opened = 0;

/** Counts an engine out. After the last one no thread and no descriptor of pinless is left. */
async function oneLess(): Promise<void> {
  if (--opened === 0) await Promise.all([monitorEnded(), memory.end()]);
}

const defaultEngine = new DefaultEngine(() => Engine.open(), loop);

/**
 * Opens a file on this thread's default engine, as `open` of node:fs/promises. That engine is opened by the first call
 * and closes itself a second after its last file was closed.
 *
 * @param path - Path of the file
 * @param flags - As `open` of node:fs. Default `"r"`
 * @param mode - Permissions of a file that is created. Default 0o666
 * @param options - Options of all of the file's requests that name none, each as of `read` and `write`
 * @throws As node:fs/promises; `ERR_PINLESS_UNSUPPORTED` if no scheme works here
 * @example
 * ```ts
 * const file = await open("data.bin");
 * const { bytesRead } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
 * await file.close();
 * ```
 */
export async function open(
  path: string | Uint8Array | URL,
  flags?: string | number,
  mode?: number,
  options?: RequestOptions,
): Promise<File> {
  return defaultEngine.openFile(path, flags, mode, options);
}
