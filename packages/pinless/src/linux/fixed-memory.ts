/**
 * Memory that stays where it is: WebAssembly memory with maximum = initial. Nobody can grow, detach or transfer it, it lives as long as its
 * last view, and Node's own functions take it. (Node's types don't have WebAssembly without the DOM's.)
 */

import { PinlessError } from "../protocol/errors.js";
import { lack } from "./lacks.js";

interface WasmNamespace {
  Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
}

const WASM_PAGE_BYTES = 65536;

/** Zeroed, in whole pages of 64 KiB. Throws ENOMEM where there isn't so much address space or memory. */
export function fixedMemory(bytes: number): ArrayBuffer {
  const { WebAssembly } = globalThis as unknown as { WebAssembly?: WasmNamespace };
  if (WebAssembly === undefined) {
    throw new PinlessError(
      "ERR_PINLESS_UNSUPPORTED",
      "arenas are WebAssembly memory, which this Node doesn't have: start it without --jitless",
    );
  }
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
  } catch (cause) {
    throw Object.assign(lack("ENOMEM", `mmap of ${bytes} bytes`, cause), { syscall: "mmap" });
  }
}
