/**
 * Memory at a fixed address: a WebAssembly.Memory with maximum = initial. It can't be grown, detached or transferred,
 * lives as long as its last view, and works with Node's own functions. (Node's types declare WebAssembly only together
 * with the DOM.)
 */

import { PinlessError } from "../protocol/errors.js";
import { lack } from "./lacks.js";

interface WasmNamespace {
  Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => { readonly buffer: ArrayBufferLike };
}

const WASM_PAGE_BYTES = 65536;

/**
 * Allocates zeroed memory in whole WebAssembly pages of 64 KiB; if `shared`, as a SharedArrayBuffer. Throws ENOMEM if
 * address space or memory are short.
 */
export function fixedMemory(bytes: number, shared?: false): ArrayBuffer;
export function fixedMemory(bytes: number, shared: boolean): ArrayBufferLike;
export function fixedMemory(bytes: number, shared = false): ArrayBufferLike {
  const { WebAssembly } = globalThis as unknown as { WebAssembly?: WasmNamespace };
  if (WebAssembly === undefined) {
    throw new PinlessError(
      "ERR_PINLESS_UNSUPPORTED",
      "arenas are WebAssembly memory, which this Node doesn't have: start it without --jitless",
    );
  }
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared }).buffer;
  } catch (cause) {
    throw Object.assign(lack("ENOMEM", `mmap of ${bytes} bytes`, cause), { syscall: "mmap" });
  }
}
