/**
 * The conclusion: whether Engine.open works here and with what, and whether the bench could run, both by starting them.
 */

import { Engine, type PinMode, type SchemeName } from "pinless";
import type { EngineSettings } from "pinless/internal";
import { bytesText } from "../command/figures.js";
import { whyNoScratch } from "../command/scratch-space.js";
import { degraded, type Found, missing, ok } from "./finding.js";

const ARENA_BYTES = 2 << 20;
const READ_BYTES = 4096;

export interface EngineFacts {
  /** Scheme and pin mode that the defaults, `"auto"` and `"lease"`, have led to. */
  readonly scheme: SchemeName | null;
  readonly pin: PinMode | null;
  readonly depth: number | null;
  readonly budgetBytes: number | null;
  /** Reasons why it isn't the best there is: `engine.stats().degraded`. */
  readonly reasons: readonly string[];
}

export const NO_ENGINE_FACTS: EngineFacts = { scheme: null, pin: null, depth: null, budgetBytes: null, reasons: [] };

/** Opens an engine, makes an arena and reads a file: the node executable, which always exists. */
export async function examineEngine({ budgetBytes }: EngineSettings): Promise<Found<EngineFacts>> {
  const engine = await Engine.open();
  try {
    const arena = await engine.arena({ bytes: ARENA_BYTES });
    const file = await engine.openFile(process.execPath);
    const { bytesRead } = await file.read(arena.alloc(READ_BYTES), { position: 0 });
    if (bytesRead !== READ_BYTES)
      return { ...missing(`a read of ${process.execPath} gave ${bytesRead} bytes`), ...NO_ENGINE_FACTS };
    const { scheme, pin, depth } = engine;
    const { degraded: reasons } = engine.stats();
    const facts = { scheme, pin, depth, budgetBytes: pin === "lease" ? budgetBytes : null, reasons };
    const leases = pin === "lease" ? `, leases of at most ${bytesText(budgetBytes)} at a time` : "";
    const found = `"auto" chooses ${scheme}, pin "${pin}", depth ${depth}${leases}`;
    return { ...(reasons.length === 0 ? ok(found) : degraded(found, ...reasons)), ...facts };
  } finally {
    await engine.close();
  }
}

export interface BenchFacts {
  readonly scratchDirectory: string;
}

export function examineBench(engine: EngineFacts): Found<BenchFacts> {
  const { directory: scratchDirectory, why } = whyNoScratch();
  if (engine.scheme === null) return { ...missing("it can't run: no engine opens"), scratchDirectory };
  if (mayNotStartProcesses())
    return {
      ...missing("it can't run without child processes", "Start node with --allow-child-process."),
      scratchDirectory,
    };
  if (why !== null) return { ...missing("it can't run", why), scratchDirectory };
  return { ...ok(`it can run; scratch files go to ${scratchDirectory}`), scratchDirectory };
}

/** True if Node's permission model forbids child processes. `process.permission` exists only if it's on. */
function mayNotStartProcesses(): boolean {
  const { permission } = process as { permission?: { has(what: string): boolean } };
  return permission?.has("child") === false;
}
