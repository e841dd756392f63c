/** Activities around an engine on the real kernel. They need no root, and leave nothing behind. */

import { MMAN } from "../../dist/abi/numbers.js";
import { Engine, type PinMode, probe, type SchemeName } from "../../dist/index.js";
import { madvise, movePages } from "../../dist/linux/libc.js";
import { memoryNodes } from "../../dist/linux/page-migration-support.js";
import { memlockBytes } from "../../dist/linux/probe.js";
import { forkHere, needsCompiler } from "../support/fork.js";
import { addressOf } from "../support/proc.js";
import type { Around } from "./ground.js";

const { hugePages } = await probe();
const noHugePages = (hugePages === null || hugePages === "never") && "machine: no transparent huge pages";
const advise = (view: Uint8Array, advice: number): number => madvise(addressOf(view), view.byteLength, advice);

export function kernelAround(scheme: SchemeName, pin: PinMode): Around {
  const bytes = memlockBytes();
  const open: NonNullable<Around["limited"]>["open"] = (options) =>
    Engine.open({ ...options, events: { pressure: false }, scheme, pin });
  return {
    noHugePages,
    noFork: needsCompiler,
    forkHarms: false,
    nodes: memoryNodes(),
    pagesOn(node, view) {
      const status = new Int32Array(view.byteLength / 4096);
      movePages(
        Array.from(status, (_, i) => addressOf(view) + i * 4096),
        null,
        status,
      );
      return status.filter((each) => each === node).length;
    },
    collapse: (area) => advise(area, MMAN.MADV_COLLAPSE),
    reclaim: (view) => void advise(view, MMAN.MADV_PAGEOUT),
    fork: async (t, view) => forkHere(t, view),
    ...(Number.isFinite(bytes) ? { limited: { bytes, open } } : {}),
  };
}
