/** Variables of the model's machine in a trace: its pages and frames, and the requests that the kernel has. */

import type { Kernel } from "../model/model-kernel.js";
import {
  BLOCK_CONTENT,
  CONTENT,
  FOLIO_DIRTY,
  IN_FLIGHT,
  IN_USE,
  MAPS,
  PINS,
  PTE_SOFT_DIRTY,
  PTE_WRITE,
  REQUEST_FREE,
  REQUEST_IN_FLIGHT,
  REQUEST_STATE,
  TARGET,
  VM_MAPPED,
  VM_WRITE,
  WRITEBACK,
} from "../model/tables.js";
import { nameOfRequest } from "./context.js";
import { setOf, type Value } from "./itf-values.js";
import type { ScenarioRequest } from "./scenario.js";

/** Renders a page: the frame or swap slot where it is, what it holds, and its state in the page table. */
export function pageOf({ memory, tables }: Kernel, page: number, shouldHold: number): Record<string, Value> {
  const target = tables.pte(page, TARGET);
  return {
    at: target === 0 ? "nowhere" : target > 0 ? `frame ${target - 1}` : `swap slot ${-target - 1}`,
    holds: memory.peek(page),
    should_hold: shouldHold,
    bits: setOf({
      mapped: tables.is(page, VM_MAPPED),
      "may be written": tables.is(page, VM_WRITE),
      writable: tables.is(page, PTE_WRITE),
      "soft-dirty": tables.is(page, PTE_SOFT_DIRTY),
    }),
  };
}

/** Renders all frames of memory. */
export function framesOf({ frames, size }: Kernel): Value {
  return Array.from({ length: size.frames }, (_, frame) => ({
    holds: frames.frameIs(frame, IN_USE) ? frames.frame(frame, CONTENT) : "nothing",
    pins: frames.frame(frame, PINS),
    mappings: frames.frame(frame, MAPS),
    in_flight: frames.frame(frame, IN_FLIGHT),
    bits: setOf({
      "in use": frames.frameIs(frame, IN_USE),
      dirty: frames.frameIs(frame, FOLIO_DIRTY),
      "under writeback": frames.frameIs(frame, WRITEBACK),
    }),
  }));
}

/** Renders the blocks of each request's file. */
export function filesOf({ cache }: Kernel, requests: readonly ScenarioRequest[], first: (i: number) => number): Value {
  const blocks = ({ first: from, last }: ScenarioRequest, i: number): Value =>
    Array.from({ length: last - from + 1 }, (_, block) => cache.block(first(i) + block, BLOCK_CONTENT));
  return Object.fromEntries(requests.map((request, i) => [nameOfRequest(i), blocks(request, i)]));
}

/** Renders what the kernel does with a request. */
export function inKernel({ disk }: Kernel, request: number): string {
  const state = disk.request(request, REQUEST_STATE);
  if (state === REQUEST_FREE) return "no";
  return state === REQUEST_IN_FLIGHT ? "in flight" : "keeps its pages";
}
