/** What the conformance suites run on: a way to open engines and files, on the real kernel or on any other behind the same ports. */

import type { PortableEngine } from "../../dist/engine.js";
import type { EngineOptions, PinMode } from "../../dist/index.js";

export interface Ground {
  /** Says which ground this is, in the names of the tests. */
  readonly name: string;
  readonly pin: PinMode;
  /** Whether memory that changes under a pin at rest loses data here: registrations for life do that to Linux. */
  readonly harmed: boolean;
  /** An engine; the scheme and the pin mode are the ground's. */
  open(options?: EngineOptions): Promise<PortableEngine>;
  /** Where a view's memory is, as `engine.notifier` counts. */
  addressOf(view: Uint8Array): number;
  /** The path of a new file with this content. */
  file(content: Uint8Array): Promise<string>;
  /** What a file holds now. */
  contentOf(path: string): Promise<Uint8Array>;
}

/** Runs `body` with an engine that is closed whatever comes of it. */
export async function withEngine<T>(
  ground: Ground,
  options: EngineOptions,
  body: (engine: PortableEngine) => Promise<T>,
): Promise<T> {
  const engine = await ground.open(options);
  try {
    return await body(engine);
  } finally {
    await engine.close();
  }
}
