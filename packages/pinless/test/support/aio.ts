/** The room that all AIO contexts of the machine share (fs.aio-max-nr), used up. */

import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { AioContext } from "../../dist/linux/aio-context.js";
import { loadLibc } from "../../dist/linux/libc-bindings.js";
import { undoing } from "./undo.js";

const most = Number(readFileSync("/proc/sys/fs/aio-max-nr", "utf8"));

/** For a test's `skip`. */
export const tooMuchAio: string | false = most > 1 << 20 && `machine: fs.aio-max-nr is ${most}`;

/** Until the test ends, but for room for one context of the depth `left`, a power of two; 0: none. */
export async function useUpAio(t: TestContext, left: number): Promise<void> {
  await loadLibc();
  const contexts: AioContext[] = [];
  undoing(t, () => {
    for (const context of contexts) context.close();
  });
  const kept = left > 0 ? AioContext.open({ depth: left }) : null;
  for (let depth = most; depth >= 1; ) {
    const context = AioContext.open({ depth });
    if (typeof context === "number") depth = Math.floor(depth / 2);
    else contexts.push(context);
  }
  if (typeof kept === "number") throw new Error(`io_setup: errno ${-kept}`);
  kept?.close();
}
