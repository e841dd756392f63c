/** The trace of an engine: what its scheme and its protocol do, in a file that grows up to a bound. */

import { loop } from "../linux/loop.js";
import { numberedName, TraceFile } from "../linux/trace-output.js";
import type { StartedScheme } from "../ports/host.js";
import { badOption } from "../ports/option-checks.js";
import type { EngineSettings } from "../ports/options.js";
import { PinlessError } from "../protocol/errors.js";
import { ChromeTrace } from "./chrome-trace.js";
import { ProtocolLanes } from "./protocol-lanes.js";
import { tracedScheme } from "./traced-scheme.js";

/** Beyond this, viewers become slow. */
const MAX_BYTES = 256 << 20;
/** Time after which a process that is killed has written what happened. */
const FLUSH_MS = 250;
const MAX_ENGINES = 1000;

/** Names that engines of this thread have written to. */
const written = new Set<string>();
/** Traces that aren't closed; the process's end closes them. */
const open = new Set<EngineTrace>();

export class EngineTrace {
  readonly #file: TraceFile;
  readonly #trace: ChromeTrace;
  readonly #stopFlushing: () => void;
  readonly #remark: string | null;
  #degraded: string[] = [];
  #said = false;

  /** `remark` is a sentence for `stats().degraded`. */
  constructor(file: TraceFile, { chunkBytes }: EngineSettings, remark: string | null) {
    this.#file = file;
    this.#remark = remark;
    this.#trace = new ChromeTrace((text) => file.write(text), loop.preciseMs, chunkBytes, MAX_BYTES);
    this.#stopFlushing = loop.every(FLUSH_MS, () => this.#flush());
    if (open.size === 0) process.on("exit", closeAll);
    open.add(this);
  }

  /** Returns the scheme with its observer, in place of one that was just started. */
  follow(started: StartedScheme): StartedScheme {
    const { scheme, pin, degraded } = started;
    this.#degraded = degraded;
    if (this.#remark !== null) degraded.push(this.#remark);
    const name = pin === "lifetime" ? "registration" : "lease";
    return {
      ...started,
      scheme: tracedScheme(scheme, this.#trace, name),
      observer: new ProtocolLanes(this.#trace),
    };
  }

  #flush(): void {
    this.#file.flush();
    const { path, failure } = this.#file;
    if (this.#said || (failure === null && this.#trace.dropped === 0)) return;
    this.#said = true;
    this.#degraded.push(
      failure === null
        ? `the trace ${path} has reached ${MAX_BYTES >> 20} MiB: what begins from then on is dropped`
        : `the trace ${path} ends early, because it couldn't be written: ${failure.message}`,
    );
  }

  /** Ends the trace and its file; without effect if that was done. */
  close(): void {
    if (!open.delete(this)) return;
    if (open.size === 0) process.off("exit", closeAll);
    this.#stopFlushing();
    this.#trace.close();
    this.#file.close();
  }
}

function closeAll(): void {
  for (const trace of open) trace.close();
}

/**
 * Opens the trace that an engine's options or PINLESS_TRACE ask for; null if none does. While one engine writes
 * PINLESS_TRACE's file, others take numbered names beside it.
 *
 * @throws `ERR_PINLESS_OPTION`, which names the file, if it can't be written
 */
export function openTrace(settings: EngineSettings): EngineTrace | null {
  if (settings.trace !== null) {
    const file = opened(settings.trace, (why) =>
      badOption("trace", settings.trace, `a file that can be written: ${why}`),
    );
    if (file === null) throw badOption("trace", settings.trace, "a file to which no other engine is writing");
    return new EngineTrace(file, settings, null);
  }
  const name = process.env.PINLESS_TRACE ?? "";
  if (name === "") return null;
  const file = firstFree(name);
  return new EngineTrace(file, settings, `PINLESS_TRACE is set: the trace ${file.path} takes time with each request`);
}

function firstFree(name: string): TraceFile {
  for (let number = 1; number <= MAX_ENGINES; number++) {
    const candidate = numberedName(name, number);
    const file = written.has(candidate) ? null : opened(candidate, (why) => unwritable(candidate, why));
    if (file === null) continue;
    written.add(candidate);
    return file;
  }
  throw unwritable(name, `${MAX_ENGINES} engines have written to it and to numbered names beside it`);
}

function unwritable(name: string, why: string): PinlessError {
  return new PinlessError(
    "ERR_PINLESS_OPTION",
    `PINLESS_TRACE asks for a trace in "${name}", which can't be written: ${why}`,
  );
}

function opened(name: string, refused: (why: string) => PinlessError): TraceFile | null {
  try {
    return TraceFile.open(name);
  } catch (error) {
    throw refused((error as Error).message);
  }
}
