/** The trace that the view shows, and the steps around the current one. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { TraceStep } from "../../src/traces/shown-trace.js";
import type { TraceCall, TraceCalls, TraceReply, TraceSummary } from "./trace-calls.js";

/** A trace of the page's own: a counterexample of an engine without one of its protective steps. */
export interface ShippedTrace {
  readonly name: string;
  readonly leavesOut: string;
}

export interface ShownFile {
  readonly name: string;
  readonly summary: TraceSummary;
}

export interface OpenTrace {
  readonly shipped: readonly ShippedTrace[];
  readonly file: ShownFile | null;
  /** Name of a file that is being read. */
  readonly reading: string | null;
  readonly error: string | null;
  readonly first: number;
  readonly steps: readonly TraceStep[];
  open(file: File): void;
}

/** Steps before the current one, and after it, that are shown. */
const AROUND = 10;

type Ask = <K extends keyof TraceCalls>(name: K, ...args: TraceCalls[K]["args"]) => Promise<TraceCalls[K]["answer"]>;

function startWorker(): { readonly ask: Ask; end(): void } {
  const worker = new Worker("trace-worker.js", { type: "module" });
  const waiting = new Map<number, { resolve(answer: never): void; reject(error: Error): void }>();
  let last = 0;
  worker.addEventListener("message", ({ data }: MessageEvent<TraceReply>) => {
    const { resolve, reject } = waiting.get(data.id)!;
    waiting.delete(data.id);
    if ("error" in data) reject(new Error(data.error));
    else resolve(data.answer as never);
  });
  worker.addEventListener("error", () => {
    for (const { reject } of waiting.values()) reject(new Error("the page couldn't start its reader, or lost it"));
    waiting.clear();
  });
  const ask: Ask = (name, ...args) =>
    new Promise((resolve, reject) => {
      const id = ++last;
      waiting.set(id, { resolve, reject });
      worker.postMessage({ id, name, args } satisfies TraceCall);
    });
  return { ask, end: () => worker.terminate() };
}

/** `wanted` is the name of one of the page's own traces, or "". `opened` is called once a file is shown. */
export function useTrace(wanted: string, step: number, opened: () => void): OpenTrace {
  const [file, setFile] = useState<ShownFile | null>(null);
  const [reading, setReading] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [part, setPart] = useState<{ first: number; steps: readonly TraceStep[] }>({ first: 0, steps: [] });
  const shipped = useShipped();
  const worker = useRef<ReturnType<typeof startWorker> | null>(null);
  useEffect(() => {
    worker.current = startWorker();
    return () => worker.current?.end();
  }, []);
  const show = async (name: string, summary: Promise<TraceSummary>): Promise<boolean> => {
    setReading(name);
    setError(null);
    try {
      setFile({ name, summary: await summary });
      return true;
    } catch (failure) {
      setError(`${name}: ${(failure as Error).message}`);
      return false;
    } finally {
      setReading(null);
    }
  };
  useEffect(() => {
    if (!/^[a-z0-9-]+$/.test(wanted)) return;
    void show(wanted, worker.current!.ask("fetch", new URL(`trace-${wanted}.itf.json`, document.baseURI).href));
  }, [wanted]);
  const first = Math.max(0, step - AROUND);
  useEffect(() => {
    if (file === null) return;
    let isCurrent = true;
    void worker.current!.ask("steps", first, 2 * AROUND + 1).then((steps) => {
      if (isCurrent) setPart({ first, steps });
    });
    return () => {
      isCurrent = false;
    };
  }, [file, first]);
  const open = (chosen: File): void =>
    void show(chosen.name, worker.current!.ask("open", chosen)).then((done) => {
      if (done) opened();
    });
  return { shipped, file, reading, error, ...part, open };
}

function useShipped(): readonly ShippedTrace[] {
  const [shipped, setShipped] = useState<readonly ShippedTrace[]>([]);
  useEffect(() => {
    // Without the list the page still reads files.
    void fetch("traces.json")
      .then(async (response) => setShipped(response.ok ? await response.json() : []))
      .catch(() => {});
  }, []);
  return shipped;
}
