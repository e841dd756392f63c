/** Activities around an engine on the model: the kernel's daemons, other code of the process, a child. */

import assert from "node:assert/strict";
import type { PortableEngine } from "../../../pinless/dist/engine/engine.js";
import type { EngineOptions } from "../../../pinless/dist/index.js";
import type { Around } from "../../../pinless/dist-test/conformance/ground.js";
import { exit } from "../../dist/model/fork.js";
import { compact } from "../../dist/model/page-placement.js";
import { WAIT } from "../../dist/model/page-tables.js";
import type { SimulatedWorld } from "../../dist/simulate/simulated-world.js";

const PAGE_BYTES = 4096;
const CHILD = 1;

/** Activities around an engine. `open` opens one for the user with a low RLIMIT_MEMLOCK. */
export function modelAround(world: SimulatedWorld, open: (options: EngineOptions) => PortableEngine): Around {
  const { machine } = world;
  const { contents, size } = machine;
  const pagesOf = (view: Uint8Array): { first: number; count: number } => ({
    first: machine.pageAt(machine.addressOfView(view)),
    count: view.byteLength / PAGE_BYTES,
  });
  const framesOf = (view: Uint8Array): number[] => {
    const { first, count } = pagesOf(view);
    return Array.from({ length: count }, (_, i) => machine.tables.frameOf(first + i));
  };
  /** Stores a view's bytes to the model's pages, runs an operation, and loads them back. */
  const operate = <T>(view: Uint8Array, run: (first: number, count: number) => T): T => {
    const { first, count } = pagesOf(view);
    contents.notice(first, count);
    const result = run(first, count);
    contents.show(first, count);
    return result;
  };
  return {
    noHugePages: false,
    noFork: false,
    forkHarms: size.sharesPinned === true,
    nodes: Array.from({ length: machine.frames.nodes }, (_, node) => node),
    pagesOn: (node, view) => framesOf(view).filter((frame) => machine.frames.nodeOf(frame) === node).length,
    collapse: (area) =>
      operate(area, (first, count) => {
        const errno = machine.memory.collapse(first, count);
        // The caller waits; here it's asked again.
        return errno === WAIT ? -11 : errno;
      }),
    reclaim: (view) =>
      operate(view, (first, count) => {
        for (let page = first; page < first + count; page++) machine.memory.reclaim(page);
      }),
    compaction: {
      run() {
        for (let node = 0; node < machine.frames.nodes; node++) compact(machine, node);
      },
      framesOf,
    },
    async fork(t, view) {
      const { first, count } = pagesOf(view);
      while (machine.fork(CHILD) === WAIT) await new Promise((resolve) => setImmediate(resolve));
      const childs = Array.from({ length: count }, (_, i) => CHILD * size.pages + first + i);
      t.after(() => assert.equal(exit(machine, CHILD), 0));
      return {
        look() {
          const seen = childs.map((page) => machine.memory.load(page));
          return seen.some((tag) => tag < 0) ? null : Buffer.concat(seen.map((tag) => contents.bytesOf(tag)));
        },
      };
    },
    limited: { bytes: size.memlock!.pages * PAGE_BYTES, open: async (options) => open(options) },
  };
}
