/** Reads the text of a trace file: ITF, or Chrome trace events, also those whose end is missing. */

import { chromeSteps } from "./chrome-steps.js";
import { itfSteps } from "./itf-steps.js";
import { isObject, type ShownTrace, TraceFileError } from "./shown-trace.js";

const MIB = 1 << 20;
/** Beyond this, a page would take long and much memory; Perfetto reads such files. */
export const MAX_TRACE_BYTES = 64 * MIB;

const CUT = "The end of the file is missing: what happened last may be missing too.";
const EITHER = "an ITF trace of pinless-lab check, nor Chrome trace events of simulate trace, an engine or bench";

/** Reason why a file of that size isn't read; null if it is. */
export function whyNotRead(bytes: number): string | null {
  if (bytes === 0) return "the file is empty";
  if (bytes <= MAX_TRACE_BYTES) return null;
  const [size, most] = [bytes, MAX_TRACE_BYTES].map((each) => `${Math.ceil(each / MIB)} MiB`);
  return `the file has ${size}, and this page reads up to ${most}: open it in Perfetto (https://ui.perfetto.dev)`;
}

/** Reads a trace. Throws `TraceFileError` with the reason if the text isn't one that can be shown. */
export function readTrace(text: string): ShownTrace {
  const { value, cut } = parsed(text);
  const remarks = cut ? [CUT] : [];
  if (Array.isArray(value)) return chromeSteps(value, remarks);
  if (isObject(value)) {
    if (Array.isArray(value.traceEvents)) return chromeSteps(value.traceEvents, remarks);
    if (Array.isArray(value.vars) && "states" in value) return itfSteps(value);
    if ("pinless" in value && "rows" in value)
      throw new TraceFileError("this is a report of pinless bench: drop it in the view “This host”");
  }
  throw new TraceFileError(`this is JSON, but neither ${EITHER}`);
}

function parsed(text: string): { readonly value: unknown; readonly cut: boolean } {
  try {
    return { value: JSON.parse(text), cut: false };
  } catch (error) {
    const value = text.trimStart().startsWith("[") ? parseCut(text) : undefined;
    if (value !== undefined) return { value, cut: true };
    throw new TraceFileError(`this isn't JSON, or it's broken: ${(error as Error).message}`);
  }
}

/** Parses a list whose end is missing, with or without a part of its last element; undefined if it's broken before. */
function parseCut(text: string): unknown {
  for (const end of [text.length, text.lastIndexOf(",\n")]) {
    try {
      return JSON.parse(`${text.slice(0, end).replace(/,\s*$/, "")}\n]`);
    } catch {}
  }
  return undefined;
}
