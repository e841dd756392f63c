/**
 * Ground of the conformance suites: opens engines and files, on the real kernel or another behind the same ports.
 */

import type { TestContext } from "node:test";
import type { PortableEngine } from "../../dist/engine/engine.js";
import type { EngineOptions, PinMode } from "../../dist/index.js";

export interface Ground {
  /** Says which ground this is, in the names of the tests. */
  readonly name: string;
  readonly pin: PinMode;
  /** True if memory that changes under a pin at rest loses data here, as on Linux with registrations for life. */
  readonly harmed: boolean;
  /** An engine; the scheme and the pin mode are the ground's. */
  open(options?: EngineOptions): Promise<PortableEngine>;
  /** Address of a view's memory, as `engine.notifier` takes it. */
  addressOf(view: Uint8Array): number;
  /** The path of a new file with this content. */
  file(content: Uint8Array): Promise<string>;
  /** The path of something that isn't a regular file; absent where there's nothing but files. */
  readonly device?: string;
  /** Contents of a file as of now. */
  contentOf(path: string): Promise<Uint8Array>;
  readonly around: Around;
}

/** Surroundings of the engine: other code of the process, other processes, the kernel's daemons. */
export interface Around {
  /** For a test's `skip`: why there are no huge pages, and no fork. */
  readonly noHugePages: string | false;
  readonly noFork: string | false;
  /**
   * True if fork leaves pinned pages to both processes, so that the parent's next store moves its page away from the
   * device, as Linux did before 5.12.
   */
  readonly forkHarms: boolean;
  /** The NUMA nodes that have memory; and of a view, how many pages are on one. */
  readonly nodes: readonly number[];
  pagesOn(node: number, view: Uint8Array): number;
  /** Other code asks for a huge page (MADV_COLLAPSE): 0, or a negative errno. */
  collapse(area: Uint8Array): number;
  /** Other code has memory reclaimed (MADV_PAGEOUT), as far as that can be. */
  reclaim(view: Uint8Array): void;
  /** Compacts all memory; and returns a view's page frames. Absent where compaction may find nothing to move. */
  readonly compaction?: { run(): void; framesOf(view: Uint8Array): readonly number[] };
  /** A child of the process, which ends with the test if not before. */
  fork(t: TestContext, view: Uint8Array): Promise<Forked>;
  /** As `open`, by a user with so much to lock. Absent where there's none. */
  readonly limited?: { readonly bytes: number; open(options: EngineOptions): Promise<PortableEngine> };
}

export interface Forked {
  /** Ends the child and returns the bytes that it saw where the view was at the fork; null for EFAULT. */
  look(): Uint8Array | null;
}

/** Runs `body` with an engine, and closes the engine also if `body` fails. */
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
