/** The worker that reads traces, so that the page stays responsive meanwhile. */

import { readTrace, whyNotRead } from "../../src/traces/read-trace.js";
import { type ShownTrace, TraceFileError } from "../../src/traces/shown-trace.js";
import type { TraceCall, TraceCalls, TraceReply, TraceSummary } from "./trace-calls.js";

let shown: ShownTrace | null = null;

async function open(file: Blob): Promise<TraceSummary> {
  const why = whyNotRead(file.size);
  if (why !== null) throw new TraceFileError(why);
  shown = readTrace(await file.text());
  const { steps, ...rest } = shown;
  return { ...rest, count: steps.length };
}

async function fetched(address: string): Promise<TraceSummary> {
  const response = await fetch(address);
  if (!response.ok) throw new TraceFileError(`the server doesn't have it (${response.status})`);
  return open(await response.blob());
}

async function answer({ name, args }: TraceCall): Promise<TraceCalls[keyof TraceCalls]["answer"]> {
  if (name === "open") return open(args[0] as Blob);
  if (name === "fetch") return fetched(args[0] as string);
  const [first, count] = args as [number, number];
  return shown === null ? [] : shown.steps.slice(first, first + count);
}

addEventListener("message", async ({ data }: MessageEvent<TraceCall>) => {
  const { id } = data;
  try {
    postMessage({ id, answer: await answer(data) } satisfies TraceReply);
  } catch (error) {
    const message = error instanceof TraceFileError ? error.message : `it can't be read: ${(error as Error).message}`;
    postMessage({ id, error: message } satisfies TraceReply);
  }
});
